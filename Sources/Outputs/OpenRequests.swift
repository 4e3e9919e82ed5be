import Frames
import Glibc
import Synchronization

/// Connections whose next request is not whole yet, by their sockets.
///
/// libmicrohttpd cuts those that are silent. One that sends a byte now and then would hold its place for
/// ever.
final class OpenRequests: Sendable {
  /// When each began.
  private let starts = Mutex<[Int32: UInt64]>([:])

  func begin(_ socket: Int32, now: UInt64 = Clock.now()) { starts.withLock { $0[socket] = now } }

  /// The request is whole, or the connection is about to close: its socket's number may soon be another's.
  func end(_ socket: Int32) { starts.withLock { $0[socket] = nil } }

  /// Ends connections that have taken longer than `patience` nanoseconds; libmicrohttpd then closes them.
  func cut(patience: UInt64, now: UInt64 = Clock.now()) {
    starts.withLock {
      for (socket, start) in $0 where now > start && now - start > patience {
        shutdown(socket, Int32(SHUT_RDWR))
      }
    }
  }
}
