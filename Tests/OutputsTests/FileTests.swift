import Base
import CAV
import Frames
import Glibc
import Outputs
import TestSupport
import Testing

/// All that write files.
@Suite struct FileTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func options() -> SinkOptions {
    var options = SinkOptions()
    options.policy = .every
    return options
  }

  private func record(_ path: String, _ frames: Int, _ frame: (Int) -> Frame) throws -> (any Error)? {
    let running = try Running(Sink.make(path, options: options()))
    for index in 0..<frames { running.output.mailbox.put(frame(index)) }
    return running.end()
  }

  /// Milliseconds since some start, as a clock of capture has them.
  private func at(_ milliseconds: Int) -> UInt64 { 5_000_000_000 + UInt64(milliseconds) * 1_000_000 }

  // MARK: - Recorder

  @Test(arguments: ["mp4", "mkv"])
  func aRecordingKeepsTheTimesOfCapture(_ ending: String) throws {
    let path = folder.file("clip.\(ending)")
    // A rate that varies: 20 a second, a gap of two seconds, then 10 a second; 7.95 s in all.
    let times = (0..<40).map { $0 * 50 } + (0..<40).map { 4000 + $0 * 100 }
    let error = try record(path, times.count) {
      Sample.picture(64, 48, color: (255, 0, 0), step: $0, captured: at(times[$0]))
    }
    #expect(error == nil)
    let movie = try #require(Movie(path))
    #expect(movie.codec == AV_CODEC_ID_H264)
    #expect(movie.width == 64 && movie.height == 48)
    #expect(movie.decoded == times.count)
    #expect(movie.times.count == times.count)
    for (found, wanted) in zip(movie.times, times) { #expect(abs(found - Double(wanted) / 1000) < 0.0011) }
    #expect(abs(movie.duration - 8) < 0.15)
    // BT.601, limited range: red is (81, 90, 240).
    #expect(
      abs(Int(movie.center.y) - 81) < 6 && abs(Int(movie.center.u) - 90) < 6
        && abs(Int(movie.center.v) - 240) < 6)
  }

  @Test func sidesBecomeEvenAndStay() throws {
    let path = folder.file("clip.mp4")
    #expect(
      try record(path, 10) { Sample.picture($0 < 5 ? 101 : 320, $0 < 5 ? 75 : 240, captured: at($0 * 40)) }
        == nil)
    let movie = try #require(Movie(path))
    #expect(movie.width == 100 && movie.height == 74)
    #expect(movie.decoded == 10)
  }

  @Test(arguments: ["mp4", "mkv"])
  func whatAKilledRecorderLeftPlays(_ ending: String) throws {
    let path = folder.file("clip.\(ending)")
    let running = try Running(Sink.make(path, options: options()))
    for index in 0..<120 {
      running.output.mailbox.put(Sample.picture(64, 48, step: index, captured: at(index * 100)))
    }
    // The last of `put` waits only until the one before was fetched.
    var found: Movie?
    #expect(
      try eventually {
        try folder.write("copy.\(ending)", folder.read("clip.\(ending)") ?? [])
        found = Movie(folder.file("copy.\(ending)"))
        return found.map { $0.decoded >= 60 } ?? false
      })
    #expect(found?.decoded == found?.times.count)
    #expect(running.end() == nil)
    #expect(Movie(path)?.decoded == 120)
  }

  /// Records noise, four pictures a second, where no file may have more than `limit` bytes. EFBIG takes the way
  /// of ENOSPC, and needs no file system of its own; but the limit is the whole process's, so who calls this is a
  /// process of its own.
  private func recordNoise(_ path: String, _ count: Int, limit: UInt) throws -> (any Error)? {
    signal(SIGXFSZ, SIG_IGN)
    var old = rlimit()
    getrlimit(__rlimit_resource_t(1), &old)
    var small = rlimit(rlim_cur: rlim_t(limit), rlim_max: old.rlim_max)
    setrlimit(__rlimit_resource_t(1), &small)
    defer { setrlimit(__rlimit_resource_t(1), &old) }
    let size = (width: 160, height: 128)
    var state: UInt32 = 1
    return try record(path, count) {
      // Noise does not compress.
      let bytes = (0..<size.width * size.height * 3).map { _ in
        state = state &* 1_664_525 &+ 1_013_904_223
        return UInt8(state >> 24)
      }
      return Sample.frame(
        bytes, PictureFormat(.rgb24, width: size.width, height: size.height), captured: at($0 * 250))
    }
  }

  private static let endings = ["mp4", "mkv", "mjpeg"]

  @Test func aFullDiskLeavesAPlayableFile() async {
    await #expect(processExitsWith: .success) {
      for ending in FileTests.endings { try FileTests().fillDisk(ending) }
    }
  }

  private func fillDisk(_ ending: String) throws {
    let path = folder.file("clip.\(ending)")
    let error = try recordNoise(path, 200, limit: 200_000)
    let refusal = try #require(error as? OutputError)
    #expect(refusal.exitCode == 74)
    #expect(refusal.description.contains(path))
    #expect(refusal.description.contains("EFBIG") && refusal.description.contains("ulimit -f"))
    let movie = try #require(Movie(path))
    #expect(movie.times.count > 3)
    #expect(movie.decoded == movie.times.count)
    #expect(folder.names == ["clip.\(ending)"])
  }

  /// From a disk that takes nothing to one that takes two seconds: either there is a film that plays, or there is
  /// no file. What eight pictures take is measured first.
  @Test func aDiskThatIsFullAtOnceLeavesAFilmOrNothing() async {
    await #expect(processExitsWith: .success) {
      for ending in FileTests.endings { try FileTests().beginOnFullDisk(ending) }
    }
  }

  private func beginOnFullDisk(_ ending: String) throws {
    let path = folder.file("clip.\(ending)")
    #expect(try recordNoise(path, 8, limit: 1 << 30) == nil)
    let whole = try #require(folder.read("clip.\(ending)")).count
    var counts: [Int] = []
    for limit in [0, 100, 700, 1500] + (1...10).map({ whole * $0 / 11 }) {
      let refusal = try #require(try recordNoise(path, 20, limit: UInt(limit)) as? OutputError)
      #expect(refusal.exitCode == 74)
      #expect(refusal.description.contains(path))
      guard folder.names == ["clip.\(ending)"] else {
        #expect(folder.names.isEmpty)
        #expect(refusal.description.contains("removed"))
        counts.append(0)
        continue
      }
      let movie = try #require(Movie(path), "\(limit) of \(whole) bytes")
      #expect(movie.decoded == movie.times.count)
      #expect(movie.decoded >= 1)
      #expect(!refusal.description.contains("removed"))
      counts.append(movie.decoded)
    }
    #expect(counts.prefix(3).allSatisfy { $0 == 0 })
    // A disk for a quarter of the pictures keeps at least the first.
    #expect(counts.dropFirst(6).allSatisfy { $0 >= 1 }, "\(counts)")
    #expect(try #require(counts.last) >= 4, "\(counts)")
  }

  @Test func nothingIsWrittenWithoutAFrame() throws {
    for name in ["a.mp4", "b.mkv", "c.mjpeg", "d.jpg", "e.png"] {
      #expect(try record(folder.file(name), 0) { _ in Sample.jpeg(0) } == nil)
    }
    #expect(folder.names.isEmpty)
  }

  /// Also their size is not the film's. What is shown in between stays: it says why nothing moves.
  @Test(arguments: ["mp4", "mkv", "mjpeg"])
  func noticesBeforeTheFirstPictureAreLeftOut(_ ending: String) throws {
    let path = folder.file("clip.\(ending)")
    // Notices are stamped by the same clock, later.
    let start = Clock.now() - 1_000_000_000
    let error = try record(path, 12) {
      let isNotice = $0 < 3 || $0 == 8
      return Sample.picture(
        isNotice ? 160 : 64, isNotice ? 120 : 48, captured: isNotice ? 0 : start + UInt64($0) * 40_000_000)
    }
    #expect(error == nil)
    let movie = try #require(Movie(path))
    #expect(movie.width == 64 && movie.height == 48)
    #expect(movie.decoded == 9)
    #expect(try record(folder.file("none.\(ending)"), 3) { _ in Sample.picture(64, 48, captured: 0) } == nil)
    #expect(folder.names == ["clip.\(ending)"])
  }

  /// Not even the last of all is a picture.
  @Test(arguments: ["jpg", "png"])
  func aStillIsNoNotice(_ ending: String) throws {
    let path = folder.file("still.\(ending)")
    let colors: [(UInt8, UInt8, UInt8)] = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    let error = try record(path, 3) {
      Sample.picture(64, 48, color: colors[$0], captured: $0 == 1 ? at(0) : 0)
    }
    #expect(error == nil)
    let last = try rgb(path).last
    for (found, wanted) in zip(last, [0, 255, 0]) { #expect(abs(Int(found) - wanted) < 6) }
    #expect(try record(folder.file("none.\(ending)"), 3) { _ in Sample.picture(64, 48, captured: 0) } == nil)
    #expect(folder.names == ["still.\(ending)"])
  }

  @Test func standardOutputTellsWhyThereIsNoPicture() async {
    await #expect(processExitsWith: .success) {
      var ends: [Int32] = [0, 0]
      pipe(&ends)
      dup2(ends[1], STDOUT_FILENO)
      let running = try Running(Sink.make("-"))
      running.output.mailbox.put(Sample.notice(1))
      var bytes = [UInt8](repeating: 0, count: 4096)
      #expect(read(ends[0], &bytes, bytes.count) == bytes.count)
      #expect(bytes == Sample.file(1))
      running.end()
    }
  }

  @Test func brokenFramesAreLeftOut() throws {
    let counters = Counters()
    var options = options()
    options.counters = counters
    let running = try Running(Sink.make(folder.file("clip.mp4"), options: options))
    for index in 0..<6 {
      running.output.mailbox.put(
        index == 3 ? Sample.jpeg(1) : Sample.picture(64, 48, captured: at(index * 40)))
    }
    #expect(running.end() == nil)
    #expect(Movie(folder.file("clip.mp4"))?.decoded == 5)
    #expect(counters.corrupt.load(ordering: .relaxed) == 1)
  }

  @Test func aBrokenFrameIsNoEndOfAStill() throws {
    let counters = Counters()
    var options = options()
    options.counters = counters
    let running = try Running(Sink.make(folder.file("still.png"), options: options))
    running.output.mailbox.put(Sample.jpeg(1))
    #expect(eventually { counters.corrupt.load(ordering: .relaxed) == 1 })
    running.output.mailbox.put(Sample.picture(64, 48, color: (0, 255, 0)))
    #expect(running.end() == nil)
    #expect(try rgb(folder.file("still.png")).last == [0, 255, 0])
  }

  // MARK: - Motion JPEG

  @Test func motionJPEGIsOneFileAfterTheOther() throws {
    let path = folder.file("clip.mjpeg")
    #expect(try record(path, 3) { Sample.jpeg(UInt32($0), count: 500) } == nil)
    #expect(
      folder.read("clip.mjpeg") == Sample.file(0, count: 500) + Sample.file(1, count: 500)
        + Sample.file(2, count: 500))
    #expect(try record(path, 10) { Sample.picture(64, 48, color: (0, 0, 255), step: $0) } == nil)
    let movie = try #require(Movie(path))
    #expect(movie.codec == AV_CODEC_ID_MJPEG)
    #expect(movie.decoded == 10)
    // Full range: blue is (29, 255, 107).
    #expect(
      abs(Int(movie.center.y) - 29) < 6 && abs(Int(movie.center.u) - 255) < 6
        && abs(Int(movie.center.v) - 107) < 6)
  }

  /// Nothing but pictures that cannot be encoded: no success without a file.
  @Test func aFilmWithoutOnePictureIsAFailure() throws {
    let path = folder.file("clip.mjpeg")
    let error = try #require(try record(path, 3) { _ in Sample.broken() } as? OutputError)
    #expect(error.exitCode == 65)
    #expect(error.description.contains("clip.mjpeg: not one picture could be encoded: encoding rgb24 64x48"))
    #expect(folder.names.isEmpty)
    let counters = Counters()
    var options = options()
    options.counters = counters
    let running = try Running(Sink.make(path, options: options))
    for index in 0..<3 { running.output.mailbox.put(index == 1 ? Sample.jpeg(1) : Sample.broken()) }
    #expect(running.end() == nil)
    #expect(folder.read("clip.mjpeg") == Sample.file(1))
    #expect(counters.corrupt.load(ordering: .relaxed) == 2)
  }

  /// libturbojpeg wants room for three bytes a pixel, for this more than any camera's JPEG has.
  @Test func aLargePictureIsEncoded() throws {
    let (width, height) = (5000, 4600)
    let error = try record(folder.file("clip.mjpeg"), 1) { _ in
      Sample.frame(
        [UInt8](repeating: 128, count: width * height * 3),
        PictureFormat(.rgb24, width: width, height: height))
    }
    #expect(error == nil)
    let file = try #require(folder.read("clip.mjpeg"))
    let info = try file.withUnsafeBytes { try JPEGDecoder().info($0) }
    #expect(info.width == width && info.height == height)
  }

  /// Who holds a socket and does not read must not hold up the end; the alarm ends what it held up.
  @Test func aSocketThatNobodyReadsIsLeft() async {
    await #expect(processExitsWith: .success) {
      alarm(120)
      var ends: [Int32] = [0, 0]
      socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
      dup2(ends[1], STDOUT_FILENO)
      let running = try Running(Sink.make("-"))
      running.output.mailbox.put(Sample.jpeg(1, count: 8_000_000))
      var bytes = [UInt8](repeating: 0, count: 4096)
      #expect(recv(ends[0], &bytes, bytes.count, Int32(MSG_WAITALL)) == bytes.count)
      #expect(bytes == Array(Sample.file(1, count: 8_000_000)[..<4096]))
      #expect(running.end() == nil)
    }
  }

  /// Two pictures by way of a reader who takes them slowly, a few bytes at a time.
  @Test func aSocketGetsWholePictures() async {
    await #expect(processExitsWith: .success) {
      alarm(120)
      var ends: [Int32] = [0, 0]
      socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
      dup2(ends[1], STDOUT_FILENO)
      close(ends[1])
      let running = try Running(Sink.make("-"))
      running.output.mailbox.put(Sample.jpeg(1, count: 1_000_000))
      var found: [UInt8] = []
      var bytes = [UInt8](repeating: 0, count: 3000)
      while found.count < 1_000_000 {
        let count = recv(ends[0], &bytes, bytes.count, 0)
        guard count > 0 else { break }
        found += bytes[..<count]
      }
      #expect(found == Sample.file(1, count: 1_000_000))
      #expect(running.end() == nil)
      // Nothing else holds the socket, so its reader sees the end.
      #expect(recv(ends[0], &bytes, bytes.count, 0) == 0)
    }
  }

  // MARK: - Stills

  @Test(arguments: ["jpg", "jpeg", "png"])
  func aStillIsTheLastPicture(_ ending: String) throws {
    let path = folder.file("still.\(ending)")
    try folder.write("still.\(ending)", "what was there before")
    let error = try record(path, 5) { Sample.picture(63, 47, color: $0 == 4 ? (0, 255, 0) : (255, 0, 0)) }
    #expect(error == nil)
    let picture = try rgb(path)
    #expect(picture.width == 63 && picture.height == 47)
    for (found, wanted) in zip(picture.last, [0, 255, 0]) { #expect(abs(Int(found) - wanted) < 6) }
    #expect(folder.names == ["still.\(ending)"])
  }

  @Test func aJPEGIsKeptAsItIs() throws {
    #expect(try record(folder.file("still.jpg"), 1) { _ in Sample.jpeg(9) } == nil)
    #expect(folder.read("still.jpg") == Sample.file(9))
  }

  @Test func aStillIsThereBeforeTheEnd() throws {
    let running = try Running(Sink.make(folder.file("still.jpg"), options: options()))
    running.output.mailbox.put(Sample.jpeg(1))
    #expect(eventually { folder.read("still.jpg") == Sample.file(1) })
    running.output.mailbox.put(Sample.jpeg(2))
    running.output.mailbox.put(Sample.jpeg(3))
    #expect(eventually { folder.read("still.jpg") == Sample.file(3) })
    running.end()
  }

  /// The folder is away for a while: what could not be written is there when it is back, without another picture.
  @Test func aStillThatFailedIsTriedAgain() throws {
    try folder.makeFolder("now")
    let told = Lock<[String]>([])
    var options = options()
    options.tell = { warning in told.withLock { $0.append(warning) } }
    let running = try Running(Sink.make(folder.file("now/still.jpg"), options: options))
    running.output.mailbox.put(Sample.jpeg(1))
    #expect(eventually { folder.read("now/still.jpg") == Sample.file(1) })
    try #require(rename(folder.file("now"), folder.file("away")) == 0)
    running.output.mailbox.put(Sample.jpeg(2))
    #expect(eventually { told.withLock { $0.count } == 1 })
    running.output.mailbox.put(Sample.jpeg(3))
    try #require(rename(folder.file("away"), folder.file("now")) == 0)
    #expect(eventually { folder.read("now/still.jpg") == Sample.file(3) })
    #expect(running.end() == nil)
    let warnings = told.withLock { $0 }
    #expect(warnings.count == 1 && warnings[0].contains("now/still.jpg: open: No such file"), "\(warnings)")
  }

  /// What was to be kept is not there: no success.
  @Test func aLastStillThatFailsIsAFailure() throws {
    try folder.makeFolder("now")
    let path = folder.file("now/still.jpg")
    let running = try Running(Sink.make(path, options: options()))
    try #require(rename(folder.file("now"), folder.file("away")) == 0)
    running.output.mailbox.put(Sample.jpeg(1))
    let error = try #require(running.end() as? OutputError)
    #expect(error.exitCode == 73 && error.description.contains(path))
  }

  @Test(arguments: ["jpg", "png"])
  func picturesOfImageAreWrittenInOneStep(_ ending: String) throws {
    let path = folder.file("a.\(ending)")
    var bytes = [UInt8](repeating: 0, count: 24 * 16 * 3)
    for pixel in 0..<24 * 16 { bytes[pixel * 3 + 1] = 200 }
    try bytes.withUnsafeBytes { try Sink.writePicture($0, width: 24, height: 16, to: path) }
    let picture = try rgb(path)
    #expect(picture.width == 24 && picture.height == 16)
    for (found, wanted) in zip(picture.last, [0, 200, 0]) {
      #expect(ending == "png" ? Int(found) == wanted : abs(Int(found) - wanted) < 6)
    }
    #expect(folder.names == ["a.\(ending)"])
  }

  /// What it names is replaced, wherever that lies.
  @Test func aLinkToAStillStaysOne() throws {
    try folder.makeFolder("real")
    try folder.write("real/still.jpg", "what was there before")
    let path = folder.file("still.jpg")
    #expect(symlink("real/still.jpg", path) == 0)
    #expect(try record(path, 1) { _ in Sample.jpeg(9) } == nil)
    var status = stat()
    lstat(path, &status)
    #expect(status.st_mode & S_IFMT == S_IFLNK)
    #expect(folder.read("real/still.jpg") == Sample.file(9))
    #expect(folder.names == ["real", "still.jpg"])
  }

  /// Decodes with libav, which the writer of JPEGs here does not use.
  private func rgb(_ path: String) throws -> (width: Int, height: Int, last: [UInt8]) {
    var format: UnsafeMutablePointer<AVFormatContext>?
    try #require(avformat_open_input(&format, path, nil, nil) == 0)
    defer { avformat_close_input(&format) }
    let parameters = try #require(format?.pointee.streams[0]?.pointee.codecpar)
    let decoder = try #require(avcodec_find_decoder(parameters.pointee.codec_id))
    var context = avcodec_alloc_context3(decoder)
    defer { avcodec_free_context(&context) }
    avcodec_parameters_to_context(context, parameters)
    try #require(avcodec_open2(context, decoder, nil) == 0)
    var packet = av_packet_alloc()
    var frame = av_frame_alloc()
    defer {
      av_packet_free(&packet)
      av_frame_free(&frame)
    }
    try #require(av_read_frame(format, packet) == 0)
    avcodec_send_packet(context, packet)
    avcodec_send_packet(context, nil)
    try #require(avcodec_receive_frame(context, frame) == 0)
    let (width, height) = (Int(frame!.pointee.width), Int(frame!.pointee.height))
    if frame!.pointee.format == AV_PIX_FMT_RGB24.rawValue {
      let row = frame!.pointee.data.0! + (height - 1) * Int(frame!.pointee.linesize.0)
      return (width, height, (0..<3).map { row[(width - 1) * 3 + $0] })
    }
    // JFIF's full-range BT.601.
    let y = Double(frame!.pointee.data.0![(height - 1) * Int(frame!.pointee.linesize.0) + width - 1])
    let chroma = (height - 1) / 2 * Int(frame!.pointee.linesize.1) + (width - 1) / 2
    let u = Double(frame!.pointee.data.1![chroma]) - 128
    let v = Double(frame!.pointee.data.2![chroma]) - 128
    let values = [y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u]
    return (width, height, values.map { UInt8(min(max($0.rounded(), 0), 255)) })
  }

  // MARK: - Refusals

  @Test(arguments: ["clip.mp4", "clip.mkv", "clip.mjpeg", "still.jpg", "still.png"])
  func whatCannotBeWrittenIsRefusedAtOnce(_ name: String) throws {
    for (path, word) in [("/proc/\(name)", "/proc"), (folder.file("missing/\(name)"), "does not exist")] {
      let error = try #require(throws: OutputError.self) { try Sink.make(path, options: options()).open() }
      #expect(error.exitCode == 73)
      #expect(error.description.contains(word))
    }
    let taken = folder.file(name)
    mkdir(taken, 0o755)
    let error = try #require(throws: OutputError.self) { try Sink.make(taken, options: options()).open() }
    #expect(error.exitCode == 73)
    rmdir(taken)
    mkfifo(taken, 0o600)
    #expect(throws: OutputError.self) { try Sink.make(taken, options: options()).open() }
  }

  /// The name itself is short enough; that of the file which would be renamed to it is not.
  @Test(arguments: ["jpg", "png"])
  func aStillThatCannotBeReplacedIsRefusedAtOnce(_ ending: String) throws {
    let path = folder.file(String(repeating: "a", count: 248) + ".\(ending)")
    let error = try #require(throws: OutputError.self) { try Sink.make(path, options: options()).open() }
    #expect(error.exitCode == 73)
    #expect(error.description.contains("ENAMETOOLONG"))
    #expect(folder.names.isEmpty)
    #expect(throws: OutputError.self) {
      try Sink.writePicture(UnsafeRawBufferPointer(start: nil, count: 0), width: 8, height: 8, to: path)
    }
  }

  @Test func openingTouchesNothing() throws {
    for name in ["clip.mp4", "clip.mkv", "clip.mjpeg", "still.jpg"] {
      try folder.write(name, "precious")
      try Sink.make(folder.file(name), options: options()).open()
      #expect(folder.read(name) == Array("precious".utf8))
    }
    #expect(folder.names == ["clip.mjpeg", "clip.mkv", "clip.mp4", "still.jpg"])
  }
}
