import Frames
import Glibc
import Inputs
import TestSupport
import Testing

/// Streams from servers that others wrote: what a network camera, an encoder in the studio or a web server sends.
@Suite(.serialized) struct ServerTests {
  enum Kind: String, CaseIterable {
    case rtsp, srt

    func address(_ port: Int) -> String { "\(self)://127.0.0.1:\(port)" + (self == .rtsp ? "/live" : "") }
    func start(_ port: Int) throws -> StreamServer {
      self == .rtsp ? try .rtsp(port) : try .srt(port)
    }
  }

  /// The seven bars of SMPTE's upper part at 75 %, from left to right.
  private static let bars = [
    [191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191],
  ]

  private func showsBars(_ frame: Taken) throws -> Bool {
    guard frame.format.width == 320, frame.format.height == 240 else { return false }
    let picture = try frame.rgb()
    return Self.bars.indices.allSatisfy {
      picture.isNear(320 * (2 * $0 + 1) / 14, 60, Self.bars[$0], within: 24)
    }
  }

  /// Takes frames until one shows the bars.
  private func comesWithBars(_ running: Running) throws -> Bool {
    for _ in 0..<40 {
      guard let frame = running.next(seconds: 60) else { return false }
      if try showsBars(frame) { return true }
    }
    return false
  }

  private func isWaiting(_ running: Running, _ words: String) -> Bool {
    if case .waiting(let text) = running.status.current { return text.contains(words) }
    return false
  }

  @Test(arguments: Kind.allCases)
  func aLiveStreamShowsItsPicture(_ kind: Kind) throws {
    let port = try StreamServer.freePort()
    let server = try kind.start(port)
    let running = Running(try Source.make(kind.address(port), options: SourceOptions()), .newest)
    try #require(try comesWithBars(running))
    #expect(running.status.current == .live)
    for _ in 0..<10 { try #require(running.next(seconds: 60) != nil) }
    #expect(running.finish() == nil)
    server.end()
  }

  @Test(arguments: Kind.allCases)
  func aServerThatGoesAndComesBackIsFoundAgain(_ kind: Kind) throws {
    let port = try StreamServer.freePort()
    let server = try kind.start(port)
    let running = Running(try Source.make(kind.address(port), options: SourceOptions()), .newest)
    try #require(try comesWithBars(running))
    server.end()
    // What the kernel still held comes first.
    #expect(
      eventually(seconds: 60) {
        _ = running.mailbox.take(timeout: 10_000_000)
        return isWaiting(running, "127.0.0.1:\(port)")
      }, "\(running.status.current)")
    let successor = try kind.start(port)
    try #require(try comesWithBars(running))
    #expect(running.counters.reconnects.load(ordering: .relaxed) >= 1)
    #expect(running.finish() == nil)
    successor.end()
  }

  @Test(arguments: Kind.allCases)
  func aServerThatIsNotThereIsWaitedFor(_ kind: Kind) throws {
    let port = try StreamServer.freePort()
    let running = Running(try Source.make(kind.address(port), options: SourceOptions()), .newest)
    #expect(
      eventually(seconds: 60) {
        isWaiting(running, kind.address(port)) && !isWaiting(running, "calling")
      }, "\(running.status.current)")
    let server = try kind.start(port)
    try #require(try comesWithBars(running))
    #expect(running.finish() == nil)
    server.end()
  }

  /// Its segments come at once, and are longer than another sender may be silent.
  @Test func aLivePlaylistPlaysSteadily() throws {
    let folder = try TemporaryFolder()
    let encoder = try StreamServer.playlist(folder.path, secondsPerSegment: 6)
    #expect(eventually(seconds: 60) { access(folder.path + "/live.m3u8", R_OK) == 0 })
    let port = try StreamServer.freePort()
    let server = try StreamServer.files(folder.path, port)
    let running = Running(
      try Source.make("http://127.0.0.1:\(port)/live.m3u8", options: SourceOptions()), .newest)
    try #require(try comesWithBars(running))
    // Past the first segment and the silence after it.
    var times: [UInt64] = []
    let end = Clock.now() + 14_000_000_000
    while Clock.now() < end, let frame = running.next() { times.append(frame.stamps[.captured]) }
    let gaps = zip(times, times.dropFirst()).map { $1 - $0 }.sorted()
    #expect(gaps.count > 50)
    // Ten a second; of a burst all that are fetched come within milliseconds.
    let middle = gaps.isEmpty ? 0 : gaps[gaps.count / 2]
    #expect((60_000_000...140_000_000).contains(middle), "\(gaps)")
    #expect(running.counters.reconnects.load(ordering: .relaxed) == 0)
    #expect(running.finish() == nil)
    server.end()
    encoder.end()
  }

  /// The index of the second film is at its end: the server is asked for that part first.
  @Test(arguments: [["-movflags", "+faststart"], []])
  func aFilmOnAWebServerPlaysToItsEnd(_ options: [String]) throws {
    let folder = try TemporaryFolder()
    try ffmpeg(
      ["-f", "lavfi", "-i", "smptebars=size=320x240:rate=15", "-frames:v", "20", "-pix_fmt", "yuv420p"]
        + options + [folder.path + "/film.mp4"])
    let port = try StreamServer.freePort()
    let server = try StreamServer.files(folder.path, port)
    let running = Running(
      try Source.make("http://127.0.0.1:\(port)/film.mp4", options: SourceOptions(realTime: false)))
    let frames = running.all()
    #expect(frames.count == 20)
    #expect(try showsBars(try #require(frames.last)))
    #expect(running.finish() == nil)
    server.end()
  }

  /// What is joined in the middle tells its size with the next key frame: here after libav has looked for it.
  @Test func aStreamWithoutItsSizeIsShown() throws {
    let folder = try TemporaryFolder()
    let whole = folder.file("whole.ts")
    try ffmpeg([
      "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10", "-t", "8", "-c:v", "libx264", "-g", "40",
      "-pix_fmt", "yuv420p", whole,
    ])
    // The first key frame takes fewer packets than these, and four seconds of pictures take more.
    try folder.write("joined.ts", Array(readFile(whole).dropFirst(60 * 188)))
    let port = try StreamServer.freePort()
    let server = try StreamServer.files(folder.path, port)
    let running = Running(
      try Source.make("http://127.0.0.1:\(port)/joined.ts", options: SourceOptions(realTime: false)))
    let frame = running.next(seconds: 60)
    #expect(frame?.format.width == 160 && frame?.format.height == 120, "\(running.status.current)")
    #expect(running.finish() == nil)
    server.end()
  }

  /// A camera's snapshot is asked for again and again, which is no break that anybody need be told of.
  @Test func aPictureOnAWebServerIsShown() throws {
    let folder = try TemporaryFolder()
    try ffmpeg(["-f", "lavfi", "-i", "smptebars=size=320x240", "-frames:v", "1", folder.path + "/a.png"])
    let port = try StreamServer.freePort()
    let server = try StreamServer.files(folder.path, port)
    let running = Running(
      try Source.make("http://127.0.0.1:\(port)/a.png", options: SourceOptions()), .newest)
    try #require(try comesWithBars(running))
    var (pictures, states) = (0, [running.status.current])
    let end = Clock.now() + 60_000_000_000
    while pictures < 2, Clock.now() < end {
      if running.mailbox.take(timeout: 10_000_000) != nil { pictures += 1 }
      states.append(running.status.current)
    }
    #expect(pictures == 2)
    #expect(states.allSatisfy { $0 == .live })
    #expect(running.counters.reconnects.load(ordering: .relaxed) == 0)
    server.end()
    // And where there is no picture any more, everybody is.
    #expect(eventually(seconds: 60) { isWaiting(running, "127.0.0.1:\(port)") }, "\(running.status.current)")
    #expect(running.finish() == nil)
  }
}
