@_spi(_Unicode) import Swift

/// Cleans a prompt and cuts it in words as transformers' CLIPTokenizer does: NFC, runs of white space to one
/// space, lower case, then the pattern
///
///     's|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
enum CLIPPreTokenizer {
  /// Unicode normalisation form C and lower case. The standard library has NFC under an underscored name only;
  /// Foundation, the other place that has it, would weigh ten times as much as this program.
  static func normalize(_ text: some StringProtocol) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    for scalar in String(text)._nfc {
      if scalar.properties.isWhitespace {
        if result.last != " " { result.append(" ") }
      } else {
        result.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
      }
    }
    return result
  }

  /// Whether words are made of it, \w of Unicode's regular expressions (UTS 18, annex C).
  static func isOfWord(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
    default: return scalar.properties.isAlphabetic || scalar.properties.isJoinControl
    }
  }

  enum Class { case space, letter, number, other }

  static func kind(_ scalar: Unicode.Scalar) -> Class {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return .letter
    case .decimalNumber, .letterNumber, .otherNumber: return .number
    default: return scalar.properties.isWhitespace ? .space : .other
    }
  }

  private static let contractions: [[Unicode.Scalar]] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"].map {
    Array($0.unicodeScalars)
  }

  /// The words of normalised text, without the white space between.
  static func words(_ text: ArraySlice<Unicode.Scalar>) -> [ArraySlice<Unicode.Scalar>] {
    var words: [ArraySlice<Unicode.Scalar>] = []
    var start = text.startIndex
    while start < text.endIndex {
      let end = end(of: text[start...])
      if kind(text[start]) != .space { words.append(text[start..<end]) }
      start = end
    }
    return words
  }

  /// Where the word (or the space) at the start of `rest` ends.
  private static func end(of rest: ArraySlice<Unicode.Scalar>) -> Int {
    if let contraction = contractions.first(where: { rest.starts(with: $0) }) {
      return rest.startIndex + contraction.count
    }
    let first = kind(rest[rest.startIndex])
    guard first == .letter || first == .other else { return rest.startIndex + 1 }
    return rest.firstIndex { kind($0) != first } ?? rest.endIndex
  }
}
