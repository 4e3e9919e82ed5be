/// GPT-2's map from bytes to printable characters, in which byte-level vocabularies are written: printable
/// Latin-1 stands for itself, the other bytes for U+0100 and on (`bytes_to_unicode`).
enum ByteLevel {
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0..<256).map { (byte: UInt32) -> Unicode.Scalar in
      let isPrintable =
        (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
      defer { if !isPrintable { next += 1 } }
      return Unicode.Scalar(isPrintable ? byte : next) ?? " "
    }
  }()

  private static let byteOf: [Unicode.Scalar: UInt8] = Dictionary(
    uniqueKeysWithValues: scalars.enumerated().map { ($1, UInt8($0)) })

  /// The text that a token stands for.
  static func decode(_ tokens: some Sequence<String>) -> String {
    let bytes = tokens.flatMap { token in
      let (text, isEnd) = token.hasSuffix("</w>") ? (String(token.dropLast(4)), true) : (token, false)
      return text.unicodeScalars.compactMap { byteOf[$0] } + (isEnd ? [0x20] : [])
    }
    let text = String(decoding: bytes, as: UTF8.self)
    return text.last == " " ? String(text.dropLast()) : text
  }
}
