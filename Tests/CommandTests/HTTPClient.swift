import Glibc

/// One request to the program's web server, and what came back.
struct HTTPAnswer {
  var status: Int
  var headers: String
  var body: [UInt8]
  var text: String { String(decoding: body, as: UTF8.self) }

  /// `request` is "GET /state"; the connection closes after the answer, or after `limit` bytes.
  init(_ request: String, port: Int, body: String = "", limit: Int = 1 << 22) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw SystemFailure(call: "socket", number: errno) }
    defer { close(descriptor) }
    var patience = timeval(tv_sec: 30, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else { throw SystemFailure(call: "connect", number: errno) }
    let text =
      "\(request) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
      + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    _ = Array(text.utf8).withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, 0) }
    self.init(Self.read(descriptor, limit))
  }

  private init(_ bytes: [UInt8]) {
    var end = bytes.count
    for index in bytes.indices.dropLast(3) where Array(bytes[index..<index + 4]) == [13, 10, 13, 10] {
      end = index
      break
    }
    headers = String(decoding: bytes[..<end], as: UTF8.self)
    body = Array(bytes[min(end + 4, bytes.count)...])
    let words = headers.split(separator: " ", maxSplits: 2)
    status = words.count > 1 ? Int(words[1]) ?? 0 : 0
  }

  private static func read(_ descriptor: Int32, _ limit: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while bytes.count < limit {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else { break }
      bytes += buffer[..<count]
    }
    return bytes
  }
}

extension Running {
  /// The port that the program says it listens at.
  func port() throws -> Int {
    for _ in 0..<3000 {
      if let match = errorsSoFar.firstMatch(of: /http:\/\/127\.0\.0\.1:(\d+)/), let port = Int(match.1) {
        return port
      }
      usleep(10_000)
    }
    throw SystemFailure(call: "waiting for the address in: \(errorsSoFar)", number: 0)
  }

  /// Asks for the state until it holds `text`.
  func state(_ port: Int, until text: String) throws -> String {
    var state = ""
    for _ in 0..<600 {
      state = try HTTPAnswer("GET /state", port: port).text
      if state.contains(text) { return state }
      usleep(100_000)
    }
    return state
  }
}
