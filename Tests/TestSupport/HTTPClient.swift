import Glibc

/// A client of raw sockets on 127.0.0.1, which can be as slow or as rude as a test wants.
public final class HTTPClient {
  private let descriptor: Int32
  private var waiting: [UInt8] = []

  /// `receiveBuffer`: bytes that the kernel may hold for a reader that does not read. `from`: the address to come
  /// from. `patience`: seconds to wait for what comes or goes.
  public init(_ port: UInt16, receiveBuffer: Int32? = nil, from: UInt32? = nil, patience: Int = 10) {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    if let from {
      Self.withAddress(from, port: 0) { _ = bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    if var receiveBuffer {
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<Int32>.size))
    }
    var time = timeval(tv_sec: patience, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    Self.withAddress(0x7F00_0001, port: port) {
      _ = connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }

  private static func withAddress(_ number: UInt32, port: UInt16, _ body: (UnsafePointer<sockaddr>) -> Void) {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = number.bigEndian
    withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
    }
  }
  deinit { close(descriptor) }

  @discardableResult
  public func send(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// Sends a request; `headers` replace Host where they name it.
  public func request(
    _ method: String, _ target: String, _ headers: [String: String] = [:], body: [UInt8]? = nil
  ) {
    var all = ["Host": "127.0.0.1"].merging(headers) { $1 }
    if let body, all["Content-Length"] == nil { all["Content-Length"] = "\(body.count)" }
    let head = "\(method) \(target) HTTP/1.1\r\n" + all.map { "\($0): \($1)\r\n" }.joined() + "\r\n"
    send(Array(head.utf8) + (body ?? []))
  }

  /// nil at the end or when nothing came for so long.
  private func receive() -> [UInt8]? {
    var block = [UInt8](repeating: 0, count: 65536)
    let count = recv(descriptor, &block, block.count, 0)
    return count > 0 ? Array(block[..<count]) : nil
  }

  /// Whether the server ends the connection, whatever it still sends before.
  public var ends: Bool {
    while true {
      var block = [UInt8](repeating: 0, count: 65536)
      let count = recv(descriptor, &block, block.count, 0)
      if count == 0 { return true }
      if count < 0 { return errno == ECONNRESET }
    }
  }

  public func read(_ count: Int) -> [UInt8]? {
    while waiting.count < count {
      guard let more = receive() else { return nil }
      waiting += more
    }
    defer { waiting.removeFirst(count) }
    return Array(waiting[..<count])
  }

  /// Up to the empty line, without it.
  public func readHead() -> String? {
    let end = Array("\r\n\r\n".utf8)
    var searched = 0
    while true {
      var at = searched
      while at + 4 <= waiting.count {
        if waiting[at] == 13, Array(waiting[at..<at + 4]) == end {
          let head = String(decoding: waiting[..<at], as: UTF8.self)
          waiting.removeFirst(at + 4)
          return head
        }
        at += 1
      }
      searched = max(0, waiting.count - 3)
      guard let more = receive() else { return nil }
      waiting += more
    }
  }

  public struct Answer {
    public var status = 0
    public var headers: [String: String] = [:]
    public var body: [UInt8] = []
    public var text: String { String(decoding: body, as: UTF8.self) }
  }

  /// Reads status and headers, and the body where it has a length.
  public func answer(hasBody: Bool = true) -> Answer? {
    guard let head = readHead() else { return nil }
    var answer = Answer()
    let lines = head.split(separator: "\r\n")
    guard let first = lines.first else { return nil }
    answer.status = Int(first.split(separator: " ").dropFirst().first ?? "") ?? 0
    answer.headers = HTTPClient.headers(lines.dropFirst())
    if hasBody, let count = answer.headers["content-length"].flatMap({ Int($0) }) {
      guard let body = read(count) else { return nil }
      answer.body = body
    }
    return answer
  }

  private static func headers(_ lines: some Sequence<Substring>) -> [String: String] {
    var headers: [String: String] = [:]
    for line in lines {
      guard let colon = line.firstIndex(of: ":") else { continue }
      headers[line[..<colon].lowercased()] = String(
        line[line.index(after: colon)...].drop { $0 == " " })
    }
    return headers
  }

  /// A part of a stream with Content-Length.
  public struct Part {
    public var headers: [String: String]
    public var body: [UInt8]
  }

  public func part() -> Part? {
    guard let head = readHead() else { return nil }
    var lines = head.split(separator: "\r\n")
    guard lines.first == "--boundarydonotcross" else { return nil }
    lines.removeFirst()
    let headers = HTTPClient.headers(lines)
    guard let count = headers["content-length"].flatMap({ Int($0) }), let body = read(count),
      read(2) == [13, 10]
    else { return nil }
    return Part(headers: headers, body: body)
  }
}
