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
    /// Whether it is sought in the cleaned text; otherwise in the raw one.
    let isNormalized: Bool
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
    // The longest that fits wins.
    let added = added.filter { !$0.content.isEmpty }.sorted { $0.content.count > $1.content.count }
    rawAdded = added.filter { !$0.isNormalized }
    normalizedAdded = added.filter(\.isNormalized)
  }

  /// A prompt of more characters is cut before it is read, so that no prompt takes long.
  private static let longest = 8192

  public func encode(_ prompt: String) -> Encoding {
    let tokens = tokens(of: String(String.UnicodeScalarView(prompt.unicodeScalars.prefix(Self.longest))))
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
      tokens += encode(text[start..<position]) + [token.id]
      position += token.content.count
      start = position
    }
    return tokens + encode(text[start...])
  }

  private func text(of tokens: ArraySlice<Int32>) -> String {
    ByteLevel.decode(tokens.compactMap { encoding.name(of: $0) })
  }
}
