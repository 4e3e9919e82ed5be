/// A file's path or a stream's address.
struct MediaPlace: Equatable, CustomStringConvertible, Sendable {
  /// As it was given.
  let name: String
  let isNetwork: Bool

  init(file path: String) { (name, isNetwork) = (path, false) }
  /// Of one of `InputSpec.schemes`.
  init(address: String) { (name, isNetwork) = (address, true) }

  /// A path is given as such, so that a file called "a:b.mp4" is not taken for an address.
  var url: String { isNetwork ? name : "file:" + name }

  /// Without the secrets that an address may hold, in the user's name and in the query: this goes to logs and
  /// screens.
  var description: String {
    guard isNetwork, let start = name.range(of: "://")?.upperBound else { return name }
    let end = name[start...].firstIndex { "/?#".contains($0) } ?? name.endIndex
    let authority = name[start..<end]
    let host = authority.lastIndex(of: "@").map { "***\(authority[$0...])" } ?? "\(authority)"
    let path = name[end...].prefix { $0 != "?" }
    return "\(name[..<start])\(host)\(path)" + (path.endIndex < name.endIndex ? "?…" : "")
  }

  /// Options for avformat_open_input. Both kinds may open only what belongs to them: a playlist that somebody
  /// sent must not read local files, nor a local file call out.
  var options: [(String, String)] {
    guard isNetwork else { return [("protocol_whitelist", "file"), ("pattern_type", "none")] }
    // A film goes on where its connection broke, as far as the server can: else it would begin anew.
    let forHTTP = name.lowercased().hasPrefix("http") ? [("reconnect", "1")] : []
    return forHTTP + [
      ("protocol_whitelist", "http,https,tls,tcp,udp,rtp,rtsp,srt,httpproxy,crypto"),
      ("rtsp_transport", "tcp"),
      // Microseconds without a byte.
      ("rw_timeout", "5000000"),
      // Not "nobuffer": it throws away what was read to find the streams, such as the only key frame for
      // seconds, or all of a short film.
      ("analyzeduration", "1000000"),
    ]
  }
}

extension String {
  fileprivate func range(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}
