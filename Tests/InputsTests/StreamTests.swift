import Frames
import Glibc
import Inputs
import Synchronization
import TestSupport
import Testing

/// A web camera of the plainest kind on 127.0.0.1, one connection after the other.
final class WebCamera: Sendable {
  let port: UInt16
  private let listener: Int32
  private let isEnding: StopFlag
  private let thread: StageThread

  /// Connection n gets these parts and is closed; with `isSilentAfter` it then stays open.
  convenience init(parts: @escaping @Sendable (Int) -> [[UInt8]], isSilentAfter: Bool = false) throws {
    let ending = StopFlag()
    try self.init(ending) { WebCamera.serve($0, parts($1), ending, staysOpen: isSilentAfter) }
  }

  /// No camera but a film, of which any part may be asked for: who asks for all gets half, and then no more.
  convenience init(film: [UInt8]) throws {
    try self.init(StopFlag()) { connection, _ in WebCamera.serve(connection, film: film) }
  }

  /// `serve` gets each connection and its number.
  private init(_ ending: StopFlag, _ serve: @escaping @Sendable (Int32, Int) -> Void) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 4) == 0 && getsockname(listener, $0, &length) == 0
      }
    }
    try #require(bound)
    self.listener = listener
    isEnding = ending
    port = UInt16(bigEndian: address.sin_port)
    let state = State()
    self.state = state
    thread = try StageThread("web camera") {
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { return }
        let number = state.connections.wrappingAdd(1, ordering: .relaxed).oldValue
        serve(connection, number)
        close(connection)
      }
    }
  }
  private let state: State
  private final class State: Sendable { let connections = Atomic<Int>(0) }

  var served: Int { state.connections.load(ordering: .relaxed) }
  var address: String { "http://127.0.0.1:\(port)/stream" }

  func end() {
    isEnding.set()
    shutdown(listener, Int32(SHUT_RDWR))
    thread.join()
    close(listener)
  }

  private static func serve(_ connection: Int32, _ parts: [[UInt8]], _ ending: StopFlag, staysOpen: Bool) {
    var request = [UInt8](repeating: 0, count: 4096)
    _ = read(connection, &request, request.count)
    write(
      connection,
      Array("HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n".utf8))
    for part in parts where !ending.isSet {
      let head = "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: \(part.count)\r\n\r\n"
      guard write(connection, Array(head.utf8) + part + Array("\r\n".utf8)) else { return }
      usleep(20_000)
    }
    while staysOpen, !ending.isSet { usleep(10_000) }
  }

  private static func serve(_ connection: Int32, film: [UInt8]) {
    var request = [UInt8](repeating: 0, count: 4096)
    let count = read(connection, &request, request.count)
    let text = String(decoding: request.prefix(max(0, count)), as: UTF8.self)
    let asked = text.firstRange(of: "Range: bytes=").map { text[$0.upperBound...].prefix { $0.isNumber } }
    let start = min(asked.flatMap { Int($0) } ?? 0, film.count)
    let head = """
      HTTP/1.1 206 Partial Content\r
      Accept-Ranges: bytes\r
      Connection: close\r
      Content-Range: bytes \(start)-\(film.count - 1)/\(film.count)\r
      Content-Length: \(film.count - start)\r
      \r

      """
    write(connection, Array(head.utf8) + film[start..<(start == 0 ? film.count / 2 : film.count)])
  }

  @discardableResult
  private static func write(_ connection: Int32, _ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let sent = rest.withUnsafeBytes {
        send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard sent > 0 else { return false }
      rest = rest.dropFirst(sent)
    }
    return true
  }
}

@Suite struct StreamTests {
  private func jpegs(_ folder: TemporaryFolder, _ count: Int) throws -> [[UInt8]] {
    try ffmpeg([
      "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=5", "-frames:v", "\(count)", "-q:v", "3",
      folder.path + "/%d.jpg",
    ])
    return try (1...count).map { try readFile(folder.path + "/\($0).jpg") }
  }

  @Test func jpegsOfAWebCameraComeAsTheyAre() throws {
    let pictures = try jpegs(TemporaryFolder(), 30)
    let camera = try WebCamera(parts: { _ in pictures })
    let running = Running(try Source.make(camera.address, options: SourceOptions()))
    let frames = running.all(atMost: 20)
    #expect(running.finish() == nil)
    camera.end()
    #expect(frames.count == 20)
    var last = -1
    for frame in frames {
      #expect(frame.format == PictureFormat(.jpeg, width: 320, height: 240))
      let number = try #require(pictures.firstIndex { frame.bytes.elementsEqual($0) }, "none of the pictures")
      #expect(number > last, "picture \(number) after \(last)")
      last = number
    }
  }

  @Test func brokenJPEGsAreDroppedAndCounted() throws {
    let pictures = try jpegs(TemporaryFolder(), 30)
    let parts = pictures.enumerated().flatMap { number, jpeg -> [[UInt8]] in
      switch number % 4 {
      case 1: return [Array(jpeg[..<(jpeg.count / 2)]) + [0xFF, 0xD9]]
      case 2: return [Array(jpeg[..<200])]
      default: return [jpeg]
      }
    }
    let camera = try WebCamera(parts: { _ in parts })
    let running = Running(try Source.make(camera.address, options: SourceOptions()))
    for _ in 0..<10 { _ = try running.next()?.rgb() }
    #expect(running.counters.corrupt.load(ordering: .relaxed) >= 5)
    running.finish()
    camera.end()
  }

  @Test func aBrokenConnectionIsMadeAgain() throws {
    let pictures = try jpegs(TemporaryFolder(), 12)
    let camera = try WebCamera(parts: { _ in pictures })
    let running = Running(try Source.make(camera.address, options: SourceOptions()), .newest)
    #expect(
      eventually {
        _ = running.mailbox.take(timeout: 10_000_000); return camera.served >= 3
      })
    #expect(running.next() != nil)
    #expect(running.counters.reconnects.load(ordering: .relaxed) >= 1)
    #expect(running.finish() == nil)
    camera.end()
  }

  /// A film goes on where the connection to it broke; it does not begin anew.
  @Test func aFilmGoesOnAfterABreak() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("film.mp4")
    try ffmpeg([
      "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15", "-frames:v", "30", "-pix_fmt", "yuv420p",
      "-movflags", "+faststart", path,
    ])
    let server = try WebCamera(film: readFile(path))
    let running = Running(try Source.make(server.address, options: SourceOptions(realTime: false)))
    let frames = running.all()
    #expect(running.finish() == nil)
    server.end()
    #expect(frames.count == 30)
    #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.bytes != $1.bytes })
    #expect(running.counters.reconnects.load(ordering: .relaxed) == 0)
    #expect(server.served >= 2)
  }

  @Test func anAddressWhereNobodyAnswersIsWaitedFor() throws {
    // A port that was free a moment ago.
    let probe = try WebCamera(parts: { _ in [] })
    let address = probe.address
    probe.end()
    let running = Running(try Source.make(address, options: SourceOptions()))
    #expect(
      eventually {
        if case .waiting(let text) = running.status.current { return text.contains(address) }
        return false
      }, "\(running.status.current)")
    #expect(running.finish() == nil)
  }

  /// The stop must reach a read that waits for bytes that never come.
  @Test func stoppingEndsABlockedRead() throws {
    let pictures = try jpegs(TemporaryFolder(), 12)
    let camera = try WebCamera(parts: { _ in pictures }, isSilentAfter: true)
    let running = Running(try Source.make(camera.address, options: SourceOptions()), .newest)
    #expect(running.next() != nil)
    #expect(eventually { camera.served == 1 && running.isSilent(milliseconds: 300) })
    let before = Clock.now()
    running.finish()
    // Far below the five seconds after which silence itself would end the read.
    #expect(Clock.now() - before < 3_000_000_000)
    camera.end()
  }
}
