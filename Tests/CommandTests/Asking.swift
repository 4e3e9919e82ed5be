import Glibc
import TestSupport
import Testing

/// One request to the program's web server, and its answer. `request` is "GET /state".
func ask(_ request: String, port: Int, body: String? = nil) throws -> HTTPClient.Answer {
  try #require(HTTPClient.asking(request, port, body).answer(), "no answer to \(request)")
}

extension HTTPClient {
  /// One that has sent a request, and waits half a minute for what comes.
  static func asking(_ request: String, _ port: Int, _ body: String? = nil) throws -> HTTPClient {
    let words = request.split(separator: " ").map(String.init)
    let client = HTTPClient(UInt16(port), patience: 30)
    client.request(
      words[0], words[1], body == nil ? [:] : ["Content-Type": "application/json"],
      body: body.map { Array($0.utf8) })
    return client
  }
}

extension Running {
  struct Silence: Error { let errors: String }

  /// The port that the program says it listens at.
  func port() throws -> Int {
    for _ in 0..<3000 {
      if let match = errorsSoFar.firstMatch(of: /http:\/\/127\.0\.0\.1:(\d+)/), let port = Int(match.1) {
        return port
      }
      usleep(10_000)
    }
    throw Silence(errors: errorsSoFar)
  }

  /// Asks for the state until it holds `text`.
  func state(_ port: Int, until text: String) throws -> String {
    var state = ""
    for _ in 0..<600 {
      state = try ask("GET /state", port: port).text
      if state.contains(text) { return state }
      usleep(100_000)
    }
    return state
  }
}
