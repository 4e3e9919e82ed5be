import Base
import Glibc

/// Where the HTTP server listens, written `http://HOST:PORT` (IPv6 in brackets; port 0 takes a free one).
public struct HTTPAddress: Sendable, Equatable, CustomStringConvertible {
  public let host: String
  public let port: UInt16

  /// Refuses what is not such an address.
  public init(parsing spec: String) throws {
    func refuse(_ fact: String) -> OutputError {
      OutputError(.usage, "reading the sink '\(spec)'", fact, remedy: "write it as http://127.0.0.1:8080")
    }
    guard spec.hasPrefix("http://") else { throw refuse("an HTTP sink begins with http://") }
    var rest = spec.dropFirst("http://".count)
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    guard !rest.contains("/"), !rest.contains("?"), !rest.contains("#"), !rest.contains("@") else {
      throw refuse("it has more than a host and a port")
    }
    let colon: Substring.Index?
    if rest.hasPrefix("[") {
      guard let end = rest.firstIndex(of: "]") else { throw refuse("the bracket is not closed") }
      host = String(rest[rest.index(after: rest.startIndex)..<end])
      let after = rest.index(after: end)
      guard after == rest.endIndex || rest[after] == ":" else { throw refuse("a port follows the bracket") }
      colon = after == rest.endIndex ? nil : after
    } else {
      colon = rest.lastIndex(of: ":")
      host = String(rest[..<(colon ?? rest.endIndex)])
      guard !host.contains(":") else { throw refuse("IPv6 addresses go in brackets") }
    }
    guard !host.isEmpty else { throw refuse("the host is missing") }
    guard let colon else { throw refuse("the port is missing") }
    let digits = rest[rest.index(after: colon)...]
    guard let port = UInt16(digits), digits.allSatisfy(\.isNumber) else {
      throw refuse("'\(digits)' is not a port (0 to 65535)")
    }
    self.port = port
  }

  init(host: String, port: UInt16) {
    self.host = host
    self.port = port
  }

  public var description: String { "http://\(host.contains(":") ? "[\(host)]" : host):\(port)" }

  /// Whether a name or number always means this machine: what a page from elsewhere cannot pretend to be.
  public static func isLoopback(_ host: some StringProtocol) -> Bool {
    let host = host.lowercased()
    if host == "localhost" || host.hasSuffix(".localhost") || host == "::1" { return true }
    var address = in_addr()
    return inet_pton(AF_INET, host, &address) == 1 && UInt32(bigEndian: address.s_addr) >> 24 == 127
  }
}

/// A socket that listens, closed with its owner unless it was handed over.
final class ListeningSocket {
  private(set) var descriptor: Int32
  /// With the port that the kernel chose.
  let address: HTTPAddress

  /// Binds `address` and listens. Addresses other than this machine's own need `hasToken`.
  init(_ address: HTTPAddress, hasToken: Bool) throws {
    descriptor = try Self.firstBound(of: address, hasToken: hasToken)
    self.address = HTTPAddress(host: address.host, port: Self.port(of: descriptor) ?? address.port)
  }
  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Somebody else closes the descriptor from now on.
  func handOver() { descriptor = -1 }

  /// A socket that listens at the first address of the name that this machine has.
  private static func firstBound(of address: HTTPAddress, hasToken: Bool) throws -> Int32 {
    let attempt = "listening at \(address)"
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    let failure = getaddrinfo(address.host, String(address.port), &hints, &list)
    guard failure == 0, list != nil else {
      throw OutputError(
        .unavailable, attempt, "'\(address.host)' was not found: \(String(cString: gai_strerror(failure)))",
        remedy: "use a number, as http://127.0.0.1:\(address.port)")
    }
    defer { freeaddrinfo(list) }
    var absent: OutputError?
    for info in inOrder(list, of: address.host) {
      // What the name means counts, not how it is written: anybody may call an address localhost.
      guard isLoopback(info) || hasToken else {
        throw absent
          ?? OutputError(
            .usage, attempt, "other machines could watch and change settings",
            remedy: "use 127.0.0.1, or set a token, which every request then has to bring: "
              + SinkOptions.tokenCommand)
      }
      let (descriptor, call, number) = bound(info)
      if descriptor >= 0 { return descriptor }
      // Another program's address ends it: under the same name browsers would still find that program.
      let refused = refusal(attempt, address, call, number)
      guard number == EADDRNOTAVAIL || number == EAFNOSUPPORT else { throw refused }
      absent = absent ?? refused
    }
    throw absent ?? OutputError(.unavailable, attempt, "'\(address.host)' has no address")
  }

  /// The addresses of a list. For localhost those of IPv4 come first: whoever writes 127.0.0.1 instead is served, too.
  private static func inOrder(_ list: UnsafeMutablePointer<addrinfo>?, of host: String) -> [addrinfo] {
    var found: [addrinfo] = []
    var next = list
    while let info = next {
      found.append(info.pointee)
      next = info.pointee.ai_next
    }
    guard HTTPAddress.isLoopback(host) else { return found }
    return found.filter { $0.ai_family == AF_INET } + found.filter { $0.ai_family != AF_INET }
  }

  /// A socket that listens there, or -1, the call that failed and its error's number.
  private static func bound(_ info: addrinfo) -> (descriptor: Int32, call: String, number: Int32) {
    let descriptor = socket(
      info.ai_family, info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), info.ai_protocol)
    guard descriptor >= 0 else { return (-1, "socket", errno) }
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    guard bind(descriptor, info.ai_addr, info.ai_addrlen) == 0, listen(descriptor, 32) == 0 else {
      let number = errno
      close(descriptor)
      return (-1, "bind", number)
    }
    return (descriptor, "", 0)
  }

  private static func refusal(
    _ attempt: String, _ address: HTTPAddress, _ call: String, _ number: Int32
  ) -> OutputError {
    let fact = systemFact(call, number)
    switch number {
    case EADDRINUSE:
      return OutputError(
        .unavailable, attempt, fact,
        remedy: "end the program that has it (ss -ltnp 'sport = :\(address.port)') or take another port, as "
          + "--output \(HTTPAddress(host: address.host, port: address.port &+ 1))")
    case EACCES:
      return OutputError(.permission, attempt, fact, remedy: "take a port from 1024 up")
    case EADDRNOTAVAIL:
      return OutputError(
        .unavailable, attempt, fact, remedy: "use an address of this machine (ip -brief address)")
    default: return OutputError(.unavailable, attempt, fact)
    }
  }

  private static func isLoopback(_ info: addrinfo) -> Bool {
    switch info.ai_family {
    case AF_INET:
      return info.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        UInt32(bigEndian: $0.pointee.sin_addr.s_addr) >> 24 == 127
      }
    case AF_INET6:
      return info.ai_addr.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
        withUnsafeBytes(of: $0.pointee.sin6_addr) { $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1 }
      }
    default: return false
    }
  }

  private static func port(of descriptor: Int32) -> UInt16? {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &storage) { pointer in
      let found = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(descriptor, $0, &size) == 0
      }
      // sin_port and sin6_port lie at the same place.
      return found
        ? pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
          UInt16(bigEndian: $0.pointee.sin_port)
        } : nil
    }
  }
}
