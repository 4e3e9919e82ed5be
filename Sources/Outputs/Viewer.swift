import Base
import CMicroHTTPD
import Frames
import Glibc

/// One viewer of the stream: writes parts of multipart/x-mixed-replace as ustreamer does.
///
/// Only the server's thread uses it, except for what `Watcher` keeps for the hub.
final class Viewer: Watcher, @unchecked Sendable {
  /// How a client wants its parts.
  enum Style: Equatable {
    /// Content-Type, Content-Length and X-Timestamp before every frame.
    case exact
    /// The next part's headers right after a frame: Blink draws a frame when it has seen them. They cannot
    /// carry the length of a frame that is not there yet, so they have none; Blink does not ask for it.
    case advanced
  }
  static let contentType = "multipart/x-mixed-replace;boundary=boundarydonotcross"
  /// Bytes a block; a frame is one or a few of them.
  static let blockSize = 64 * 1024

  private let hub: StreamHub
  private let statistics: Statistics?
  private let style: Style
  private var before = TextBuffer(capacity: 256)
  private var after = TextBuffer(capacity: 256)
  private var frame: Frame?
  /// The bytes of `frame`.
  private var picture = UnsafeRawBufferPointer(start: nil, count: 0)
  /// Bytes of before + frame + after that were given away.
  private var position = 0
  private var isFirst = true

  init(_ connection: OpaquePointer, hub: StreamHub, style: Style, statistics: Statistics?) {
    self.hub = hub
    self.style = style
    self.statistics = statistics
    super.init(connection)
  }

  /// Fills `block` with what comes next; 0 bytes after the connection was suspended, nil at the end.
  func read(into block: UnsafeMutableRawBufferPointer) -> Int? {
    if position == total {
      finishPart()
      switch hub.next(for: self) {
      case .closed: return nil
      case .wait: return 0
      case .frame(let next): begin(next)
      }
    }
    var written = 0
    written += give(before.bytes, from: 0, into: block, at: written)
    written += give(picture, from: before.count, into: block, at: written)
    written += give(after.bytes, from: before.count + picture.count, into: block, at: written)
    return written
  }

  /// The connection ended.
  func leave() { hub.leave(self) }

  private var total: Int { before.count + picture.count + after.count }

  /// Copies what of `source`, which begins at `start` of the part, has not been given yet.
  private func give(
    _ source: UnsafeRawBufferPointer, from start: Int, into block: UnsafeMutableRawBufferPointer,
    at offset: Int
  ) -> Int {
    let done = position - start
    guard done >= 0, done < source.count else { return 0 }
    let count = min(source.count - done, block.count - offset)
    memcpy(block.baseAddress! + offset, source.baseAddress! + done, count)
    position += count
    return count
  }

  /// libmicrohttpd asks again only when all it was given is in the socket.
  private func finishPart() {
    guard var done = frame.take() else { return }
    position = 0
    before.clear()
    picture = UnsafeRawBufferPointer(start: nil, count: 0)
    after.clear()
    // Once a frame: not for each viewer, nor when it is repeated.
    guard let statistics, hub.isFirstDelivery(to: self) else { return }
    done.stamps.pass(.written)
    statistics.written(done.stamps)
  }

  private func begin(_ next: consuming Frame) {
    before.clear()
    after.clear()
    if isFirst { before.append("--boundarydonotcross\r\n") }
    if style == .exact || isFirst {
      before.append("Content-Type: image/jpeg\r\n")
      if style == .exact {
        before.append("Content-Length: ")
        before.append(UInt64(next.bytes.count))
        before.append("\r\n")
      }
      appendTimestamp(to: &before, next.stamps)
    }
    after.append("\r\n--boundarydonotcross\r\n")
    if style == .advanced {
      after.append("Content-Type: image/jpeg\r\n")
      appendTimestamp(to: &after, next.stamps)
    }
    isFirst = false
    picture = next.bytes
    frame = consume next
    position = 0
  }

  /// The wall clock's time of the capture, and the empty line that ends the headers.
  private func appendTimestamp(to text: inout TextBuffer, _ stamps: Stamps) {
    let captured = stamps[.captured] != 0 ? stamps[.captured] : stamps[.encoded]
    let time = wallClockMicroseconds(of: captured)
    text.append("X-Timestamp: ")
    text.append(time / 1_000_000)
    text.append(".")
    text.append(time % 1_000_000, digits: 6)
    text.append("\r\n\r\n")
  }
}

/// Microseconds of the wall clock for a time of CLOCK_MONOTONIC (nanoseconds).
func wallClockMicroseconds(of monotonic: UInt64) -> UInt64 {
  let wall = timespec(of: CLOCK_REALTIME).nanoseconds / 1000
  let monotonicNow = Clock.now()
  return wall &- (monotonicNow > monotonic ? (monotonicNow - monotonic) / 1000 : 0)
}
