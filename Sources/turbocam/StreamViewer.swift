import Base
import Frames
import Glibc
import Synchronization

/// Watches /stream as a browser does, on a thread of its own.
final class StreamViewer: Sendable {
  private final class Tally: Sendable {
    let counts = Mutex<(frames: Int, bytes: Int, processor: Double)>((0, 0, 0))
  }
  private let tally = Tally()
  private let descriptor: Int32
  private let thread: StageThread

  /// Error: `ThreadError`.
  init(_ port: UInt16) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    self.descriptor = descriptor
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    _ = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    let request = Array("GET /stream HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n".utf8)
    _ = request.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, 0) }
    let tally = self.tally
    thread = try StageThread("viewer") { Self.read(descriptor, tally) }
  }

  var frames: Int { tally.counts.withLock { $0.frames } }
  /// Bytes received, headers with them.
  var bytes: Int { tally.counts.withLock { $0.bytes } }
  var processorSeconds: Double { tally.counts.withLock { $0.processor } }

  func end() {
    shutdown(descriptor, Int32(SHUT_RDWR))
    thread.join()
    close(descriptor)
  }

  /// Counts JPEGs by their first two bytes after a part's headers.
  private static func read(_ descriptor: Int32, _ tally: Tally) {
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    let mark: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0xFF, 0xD8]
    var matched = 0
    while true {
      let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
      guard count > 0 else { return }
      var frames = 0
      for byte in buffer[..<count] {
        matched = byte == mark[matched] ? matched + 1 : byte == mark[0] ? 1 : 0
        if matched == mark.count {
          frames += 1
          matched = 0
        }
      }
      let processor = timespec(of: CLOCK_THREAD_CPUTIME_ID).seconds
      tally.counts.withLock {
        $0.frames += frames
        $0.bytes += count
        $0.processor = processor
      }
    }
  }
}
