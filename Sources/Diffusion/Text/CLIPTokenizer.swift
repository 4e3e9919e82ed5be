/// CLIP's tokenizer as transformers 5 runs it.
public struct CLIPTokenizer: Sendable {
  /// A prompt as the text encoder takes it.
  public struct Encoding: Equatable, Sendable {
    /// Exactly `length` tokens: start, prompt, end, padding.
    public let tokens: [Int32]
    /// The end of the prompt that did not fit.
    public let dropped: String?
  }

  /// A token that is found in the text as it is, before the text is cut in words.
  struct Added: Sendable {
    let content: [Unicode.Scalar]
    let id: Int32
    /// Whether it is sought in the cleaned text, cleaned itself; otherwise in the raw one.
    let isNormalized: Bool
    /// Whether it has to be a word by itself.
    let isSingleWord: Bool

    init(_ name: String, id: Int32, isNormalized: Bool = false, isSingleWord: Bool = false) {
      content = isNormalized ? CLIPPreTokenizer.normalize(name) : Array(name.unicodeScalars)
      (self.id, self.isNormalized, self.isSingleWord) = (id, isNormalized, isSingleWord)
    }

    /// Whether it may be taken at this place of a text that has it there.
    func fits(_ place: Range<Int>, of text: [Unicode.Scalar]) -> Bool {
      guard isSingleWord else { return true }
      let neighbours = [place.lowerBound - 1, place.upperBound].filter(text.indices.contains)
      return !neighbours.contains { CLIPPreTokenizer.isOfWord(text[$0]) }
    }
  }

  /// Tokens of every encoded prompt.
  public let length: Int
  public let startToken, endToken, padToken: Int32
  private let encoding: BytePairEncoding
  private let rawAdded, normalizedAdded: [Added]

  init(_ encoding: BytePairEncoding, added: [Added], start: Int32, end: Int32, pad: Int32, length: Int) {
    self.encoding = encoding
    (startToken, endToken, padToken) = (start, end, pad)
    self.length = length
    // The longest that fits wins, of equal ones the first that was added.
    let added = added.filter { !$0.content.isEmpty }.sorted {
      ($1.content.count, $0.id) < ($0.content.count, $1.id)
    }
    rawAdded = added.filter { !$0.isNormalized }
    normalizedAdded = added.filter(\.isNormalized)
  }

  /// A prompt of more bytes is cut before it is read, so that no prompt takes long: one word of so many takes
  /// about a twentieth of a second, and four times as long where it is twice as long.
  private static let longest = 4096

  private static func cut(_ prompt: String) -> String {
    var room = longest
    let kept = prompt.unicodeScalars.prefix {
      room -= UTF8.width($0)
      return room >= 0
    }
    return String(kept)
  }

  public func encode(_ prompt: String) -> Encoding {
    let tokens = tokens(of: Self.cut(prompt))
    let room = length - 2
    let kept = tokens.prefix(room)
    let padding = Array(repeating: padToken, count: room - kept.count)
    let dropped = tokens.count > room ? text(of: tokens.dropFirst(room)) : nil
    return Encoding(tokens: [startToken] + kept + [endToken] + padding, dropped: dropped)
  }

  /// All of the prompt's tokens, neither framed nor cut.
  public func tokens(of prompt: String) -> [Int32] {
    split(Array(prompt.unicodeScalars), by: rawAdded) { raw in
      var text = String.UnicodeScalarView()
      text.append(contentsOf: raw)
      return split(CLIPPreTokenizer.normalize(String(text)), by: normalizedAdded) { clean in
        CLIPPreTokenizer.words(clean).flatMap(encoding.encode)
      }
    }
  }

  private func split(
    _ text: [Unicode.Scalar], by added: [Added], _ encode: (ArraySlice<Unicode.Scalar>) -> [Int32]
  ) -> [Int32] {
    var tokens: [Int32] = []
    var (start, position) = (0, 0)
    while position < text.count {
      guard let token = added.first(where: { text[position...].starts(with: $0.content) }) else {
        position += 1
        continue
      }
      let place = position..<position + token.content.count
      position = place.upperBound
      // As in the tokenizers library, none is sought in one that was found and is no word by itself.
      guard token.fits(place, of: text) else { continue }
      tokens += encode(text[start..<place.lowerBound]) + [token.id]
      start = position
    }
    return tokens + encode(text[start...])
  }

  private func text(of tokens: ArraySlice<Int32>) -> String {
    ByteLevel.decode(tokens.compactMap { encoding.name(of: $0) })
  }
}
