import Base
import CMicroHTTPD
import Frames
import Glibc
import Synchronization

/// Shows the frames to browsers: page, stream, snapshot, state and settings.
///
/// Two threads: `run` encodes each frame once and wakes who waits; libmicrohttpd's own serves all connections.
/// While nobody watches nothing is encoded and the mailbox is not wanted.
public final class HTTPServer: Output, @unchecked Sendable {
  /// Most streams and waiting snapshots at a time.
  public static let viewerLimit = 32
  /// Connections beside them: pages, state, and those that only hang around.
  private static let otherConnections = 64
  /// Of all connections, how many one address may have: nobody alone keeps the others out.
  private static let connectionsPerAddress: UInt32 = 48
  /// Seconds until a connection that neither sends nor takes a byte is cut, or one whose request is not whole.
  private static let idleSeconds: UInt32 = 20

  public let mailbox: Mailbox
  private let wish: HTTPAddress
  /// Read by the threads of all servers, for `/state`.
  private let opened: Mutex<HTTPAddress>
  private let options: SinkOptions
  private let hub: StreamHub
  private var service: HTTPService?
  private var daemon: OpaquePointer?
  private var hasTold = false

  public init(_ address: HTTPAddress, options: SinkOptions) throws {
    if let token = options.token, token.isEmpty {
      throw OutputError(
        .usage, "reading the token", "it is empty",
        remedy: "take a long one: \(SinkOptions.tokenCommand)")
    }
    wish = address
    opened = Mutex(address)
    self.options = options
    mailbox = Mailbox(.newest)
    hub = StreamHub(mailbox: mailbox, limit: Self.viewerLimit, counters: options.counters)
  }
  deinit { stop() }

  /// Where it listens: after `open` with the port that was found for port 0.
  public var address: HTTPAddress { opened.withLock { $0 } }
  public var label: String { address.description }
  /// Streams being watched and snapshots being waited for.
  public var viewers: Int { hub.count }

  /// Listens and serves; pictures come when `run` does.
  public func open() throws {
    let socket = try ListeningSocket(wish, hasToken: options.token != nil)
    let service = HTTPService(
      hub: hub, access: HTTPGuard(host: wish.host, token: options.token), control: options.control,
      statistics: options.statistics)
    opened.withLock { $0 = socket.address }
    daemon = turbocam_start_http(
      socket.descriptor, UInt32(Self.viewerLimit + Self.otherConnections), Self.connectionsPerAddress,
      Self.idleSeconds, 32 * 1024, handleRequest, forgetRequest, noteConnection,
      Unmanaged.passUnretained(service).toOpaque())
    guard daemon != nil else {
      throw OutputError(.system, "listening at \(wish)", systemFact("MHD_start_daemon"))
    }
    socket.handOver()
    self.service = service
  }

  /// Encodes what comes until the mailbox is closed, then sends everybody home.
  public func run() throws {
    defer { stop() }
    let encoder = try StreamEncoder(quality: options.quality, holders: Self.viewerLimit)
    while true {
      service?.openRequests.cut(patience: UInt64(Self.idleSeconds) * 1_000_000_000)
      // The timeout is the clock of repetitions and of snapshots that have waited too long. Also frames that
      // come more often and cannot be shown must not stop it.
      if let frame = mailbox.take(timeout: 250_000_000) {
        show(frame, encoder)
      } else if mailbox.isClosed {
        return
      }
      hub.repeatLast()
      if hub.isStarving(patience: 500_000_000), let notice = encoder.waitingNotice() { hub.publish(notice) }
    }
  }

  private func show(_ frame: borrowing Frame, _ encoder: StreamEncoder) {
    guard hub.isWatched else { return }
    do {
      if let encoded = try encoder.encode(frame) {
        hub.publish(encoded)
      } else {
        options.counters?.starved.wrappingAdd(1, ordering: .relaxed)
      }
    } catch {
      options.counters?.corrupt.wrappingAdd(1, ordering: .relaxed)
      // Once: the next frame is likely to be like this one.
      if !hasTold { options.tell?("\(address) leaves out a picture: \(error)") }
      hasTold = true
    }
  }

  private func stop() {
    hub.close()
    guard let daemon else { return }
    MHD_stop_daemon(daemon)
    self.daemon = nil
  }
}

private func handleRequest(
  context: UnsafeMutableRawPointer?, connection: OpaquePointer?, url: UnsafePointer<CChar>?,
  method: UnsafePointer<CChar>?, version: UnsafePointer<CChar>?, piece: UnsafePointer<CChar>?,
  pieceCount: UnsafeMutablePointer<Int>?, slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
  guard let context, let connection, let url, let method, let pieceCount, let slot else {
    return turbocam_mhd_no
  }
  let service = Unmanaged<HTTPService>.fromOpaque(context).takeUnretainedValue()
  let request = HTTPRequest(
    connection: connection, method: String(cString: method), path: String(cString: url))
  guard let known = slot.pointee else {
    let exchange = HTTPService.Exchange()
    slot.pointee = Unmanaged.passRetained(exchange).toOpaque()
    return service.begin(request, exchange) ? turbocam_mhd_yes : turbocam_mhd_no
  }
  let exchange = Unmanaged<HTTPService.Exchange>.fromOpaque(known).takeUnretainedValue()
  guard pieceCount.pointee > 0 else {
    return service.finish(request, exchange) ? turbocam_mhd_yes : turbocam_mhd_no
  }
  let bytes = UnsafeRawBufferPointer(start: piece, count: pieceCount.pointee)
  pieceCount.pointee = 0
  return service.receive(bytes, exchange) ? turbocam_mhd_yes : turbocam_mhd_no
}

private func forgetRequest(
  context: UnsafeMutableRawPointer?, connection: OpaquePointer?,
  slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, reason: MHD_RequestTerminationCode
) {
  guard let context, let connection, let slot, let known = slot.pointee else { return }
  slot.pointee = nil
  let exchange = Unmanaged<HTTPService.Exchange>.fromOpaque(known).takeRetainedValue()
  let service = Unmanaged<HTTPService>.fromOpaque(context).takeUnretainedValue()
  service.end(exchange)
  // The next one may come on the same connection.
  service.openRequests.begin(turbocam_http_socket(connection))
}

private func noteConnection(
  context: UnsafeMutableRawPointer?, connection: OpaquePointer?,
  slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, event: MHD_ConnectionNotificationCode
) {
  guard let context, let connection else { return }
  let openRequests = Unmanaged<HTTPService>.fromOpaque(context).takeUnretainedValue().openRequests
  let socket = turbocam_http_socket(connection)
  if event == turbocam_mhd_started { openRequests.begin(socket) } else { openRequests.end(socket) }
}
