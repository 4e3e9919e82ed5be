import CMicroHTTPD

/// One request as it lies in libmicrohttpd's hands. Valid while the server's thread works on it.
struct HTTPRequest {
  let connection: OpaquePointer
  let method: String
  let path: String
  var socket: Int32 { turbocam_http_socket(connection) }

  func header(_ name: String) -> String? {
    MHD_lookup_connection_value(connection, turbocam_mhd_header, name).map { String(cString: $0) }
  }
  /// A decoded value of the query, "" where the key stands alone.
  func argument(_ name: String) -> String? {
    guard let value = MHD_lookup_connection_value(connection, turbocam_mhd_argument, name) else {
      return nil
    }
    return String(cString: value)
  }
}

/// What the server has to offer.
enum HTTPRoute {
  case page, stream, snapshot, state, settings

  /// ustreamer's and mjpg-streamer's paths; nil where there is nothing.
  init?(_ request: HTTPRequest) {
    switch (request.path, request.argument("action")) {
    case ("/", nil): self = .page
    case ("/stream", _), ("/", "stream"): self = .stream
    case ("/snapshot", _), ("/", "snapshot"): self = .snapshot
    case ("/state", _), ("/", "state"): self = .state
    case ("/settings", _): self = .settings
    default: return nil
    }
  }

  /// Methods, as the Allow header lists them.
  var allowed: String { self == .settings ? "PATCH" : "GET, HEAD" }
}

/// Decides who may ask. Without a token only this machine's own pages and programs do; with one, whoever
/// brings it.
struct HTTPGuard: Sendable {
  let host: String
  private let token: [UInt8]?

  init(host: String, token: String?) {
    self.host = host.lowercased()
    self.token = token.map { Array($0.utf8) }
  }

  var hasToken: Bool { token != nil }

  /// nil where the request may pass.
  func refusal(of request: HTTPRequest) -> HTTPReply? {
    if let token {
      return brings(token, request)
        ? nil : .text(401, "this camera wants its token: ?token=… or Authorization: Bearer …\n")
    }
    // A page from elsewhere may have its own name point here (DNS rebinding): such a browser sends that name.
    if let host = request.header("Host"), !isOurs(Self.name(ofAuthority: host)) {
      return .text(403, "without a token this server answers only to its own name, \(self.host)\n")
    }
    // A page from elsewhere, another port of this machine too ("same-site"), may embed the stream, or the page in a
    // frame: it could not read them, but it would switch the camera on. A link may lead here.
    let site = request.header("Sec-Fetch-Site") ?? "none"
    if site != "same-origin", site != "none", request.header("Sec-Fetch-Dest") != "document" {
      return .text(
        403, "another server's page may not use this camera; start with TURBOCAM_TOKEN set to allow it\n")
    }
    return nil
  }

  /// nil where a request that changes something comes from a program or from our own page.
  func refusalToChange(_ request: HTTPRequest) -> HTTPReply? {
    if let origin = request.header("Origin") {
      let host = request.header("Host") ?? ""
      guard !host.isEmpty, origin == "http://\(host)" || origin == "https://\(host)" else {
        return .text(403, "settings change only from this server's own page or a program\n")
      }
    }
    let type = request.header("Content-Type")?.prefix { $0 != ";" && $0 != " " }.lowercased()
    guard type == "application/json" else {
      return .text(415, "settings come as Content-Type: application/json\n")
    }
    return nil
  }

  private func isOurs(_ name: Substring) -> Bool {
    HTTPAddress.isLoopback(name) || name.lowercased() == host
  }

  /// "[::1]:8080" is ::1, "localhost:8080" is localhost.
  private static func name(ofAuthority authority: String) -> Substring {
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
      return authority[authority.index(after: authority.startIndex)..<end]
    }
    return authority[..<(authority.lastIndex(of: ":") ?? authority.endIndex)]
  }

  private func brings(_ token: [UInt8], _ request: HTTPRequest) -> Bool {
    if let given = request.header("Authorization"), given.lowercased().hasPrefix("bearer "),
      Self.isEqual(Array(given.utf8.dropFirst("bearer ".utf8.count)), token)
    {
      return true
    }
    guard let given = request.argument("token") else { return false }
    return Self.isEqual(Array(given.utf8), token)
  }

  /// Takes as long for every wrong token of the right length, so that its time tells nothing of the bytes.
  private static func isEqual(_ given: [UInt8], _ token: [UInt8]) -> Bool {
    guard given.count == token.count else { return false }
    return zip(given, token).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
  }
}
