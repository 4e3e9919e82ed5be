import CMicroHTTPD
import Frames
import Glibc

/// Answers requests, on libmicrohttpd's one thread.
final class HTTPService: @unchecked Sendable {
  /// Longest body of a PATCH; settings take a few hundred bytes, the longest prompt included.
  static let longestBody = 16 * 1024
  /// A snapshot waits this long for a fresh picture: a model that has slept needs a moment.
  static let snapshotPatience: UInt64 = 5_000_000_000

  let openRequests = OpenRequests()
  private let hub: StreamHub
  private let access: HTTPGuard
  private let control: (any Control)?
  private let statistics: Statistics?

  init(hub: StreamHub, access: HTTPGuard, control: (any Control)?, statistics: Statistics?) {
    self.hub = hub
    self.access = access
    self.control = control
    self.statistics = statistics
  }

  /// What is kept of a request between libmicrohttpd's calls.
  final class Exchange {
    var route: HTTPRoute?
    var body: [UInt8] = []
    var bodyCount = 0
    var snapshot: Watcher?
  }

  /// A request's headers are here: refuses it, or remembers what it wants and lets the body come.
  func begin(_ request: HTTPRequest, _ exchange: Exchange) -> Bool {
    let route = HTTPRoute(request)
    if let refusal = refusal(of: request, route) {
      openRequests.end(request.socket)
      return answer(request, refusal)
    }
    exchange.route = route
    return true
  }

  /// A piece of the body. What is too long is not kept; what is far too long ends the connection.
  func receive(_ piece: UnsafeRawBufferPointer, _ exchange: Exchange) -> Bool {
    exchange.bodyCount += piece.count
    if exchange.bodyCount <= Self.longestBody { exchange.body.append(contentsOf: piece) }
    return exchange.bodyCount <= 64 * Self.longestBody
  }

  /// The request is whole, or a snapshot's wait is over.
  func finish(_ request: HTTPRequest, _ exchange: Exchange) -> Bool {
    openRequests.end(request.socket)
    let wantsBody = request.method != "HEAD"
    switch exchange.route {
    case .page: return answer(request, .page)
    case .stream:
      return wantsBody ? startStream(request) : answer(request, .headers(Viewer.contentType))
    case .snapshot:
      return wantsBody ? giveSnapshot(request, exchange) : answer(request, .headers("image/jpeg"))
    case .state:
      guard let control else { return answer(request, .text(404, "there is no state here\n")) }
      return answer(request, .json(200, control.stateJSON()))
    case .settings: return answer(request, change(exchange))
    case nil: return false
    }
  }

  /// The connection or the request ended.
  func end(_ exchange: Exchange) {
    if let snapshot = exchange.snapshot { hub.leave(snapshot) }
  }

  private func refusal(of request: HTTPRequest, _ route: HTTPRoute?) -> HTTPReply? {
    if let refusal = access.refusal(of: request) { return refusal }
    guard let route else {
      return .text(404, "nothing here; there are /, /stream, /snapshot, /state and /settings\n")
    }
    guard route.allowed.split(separator: ", ").contains(Substring(request.method)) else {
      return .text(405, "this takes \(route.allowed)\n", allow: route.allowed)
    }
    guard route == .settings else { return nil }
    if let refusal = access.refusalToChange(request) { return refusal }
    if let length = request.header("Content-Length").flatMap(Int.init), length > Self.longestBody {
      return Self.tooLong
    }
    return nil
  }

  private static var tooLong: HTTPReply {
    .text(413, "settings take at most \(longestBody) bytes\n")
  }

  private func answer(_ request: HTTPRequest, _ reply: consuming HTTPReply) -> Bool {
    reply.queue(on: request.connection, allowsCrossOrigin: access.hasToken)
  }

  private func change(_ exchange: Exchange) -> HTTPReply {
    if exchange.bodyCount > Self.longestBody { return Self.tooLong }
    guard let control else { return .text(404, "there are no settings here\n") }
    switch control.patch(exchange.body) {
    case .success(let state): return .json(200, state)
    case .failure(let refusal): return .json(400, errorJSON(refusal.reason))
    }
  }

  private func startStream(_ request: HTTPRequest) -> Bool {
    let viewer = Viewer(request.connection, hub: hub, style: Self.style(for: request), statistics: statistics)
    guard hub.join(viewer) else { return answer(request, Self.full(hub.limit)) }
    Self.keepShort(request.socket)
    return answer(request, .stream(viewer))
  }

  private func giveSnapshot(_ request: HTTPRequest, _ exchange: Exchange) -> Bool {
    let watcher: Watcher
    if let waiting = exchange.snapshot {
      watcher = waiting
    } else {
      watcher = Watcher(request.connection, deadline: Clock.now() + Self.snapshotPatience)
      guard hub.join(watcher) else { return answer(request, Self.full(hub.limit)) }
      exchange.snapshot = watcher
    }
    switch hub.fresh(for: watcher) {
    case .wait: return true
    case .frame(let frame):
      return answer(request, frame.isNotice ? .notice(frame) : .picture(frame))
    case .closed: return answer(request, .text(503, "no picture yet; try again\n"))
    }
  }

  private static func full(_ limit: Int) -> HTTPReply {
    .text(503, "\(limit) viewers are here already; try again later\n")
  }

  /// Blink wants headers in advance; a client may ask for either, as with ustreamer.
  private static func style(for request: HTTPRequest) -> Viewer.Style {
    if let wish = request.argument("advance_headers") { return wish == "0" ? .exact : .advanced }
    return request.header("User-Agent")?.contains("Chrome/") == true ? .advanced : .exact
  }

  /// What waits unsent in a socket is already old when it goes out, so little may wait there.
  private static func keepShort(_ socket: Int32) {
    var unsent: Int32 = 16 * 1024
    setsockopt(
      socket, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, &unsent, socklen_t(MemoryLayout<Int32>.size))
  }
}
