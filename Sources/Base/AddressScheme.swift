/// The scheme of an address in small letters, "rtsp" of "RTSP://host/live"; nil for what is no address, such
/// as a path.
public func addressScheme(of text: String) -> String? {
  guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else { return nil }
  let name = text[..<colon].lowercased()
  return !name.isEmpty && name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) ? name : nil
}
