/// A name that a device or a program gave itself, as it may go to a terminal: control characters are shown as '?'.
public func shownText(_ bytes: some Sequence<UInt8>) -> String {
  String(decoding: bytes.map { $0 < 32 || $0 == 127 ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
}
