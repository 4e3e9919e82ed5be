import Frames
import Glibc
import Inputs
import TestSupport
import Testing

@Suite struct MediaTests {
  /// A film whose pictures are numbered by their grey: number n has level 20 + 8 n.
  private func film(_ folder: TemporaryFolder, _ name: String, frames: Int = 20, _ options: [String] = [])
    throws
    -> String
  {
    let path = folder.file(name)
    try ffmpeg(
      [
        "-f", "lavfi", "-i",
        "color=black:size=160x120:rate=10,format=rgb24,geq=r='20+8*N':g='20+8*N':b='20+8*N'", "-frames:v",
        "\(frames)",
      ] + options + [path])
    return path
  }
  private func numbers(_ frames: [Taken]) throws -> [Int] {
    try frames.map { Int((Double(try $0.rgb().mean(80, 60)[0] - 20) / 8).rounded()) }
  }

  @Test func aFilmThatPlaysIsLive() throws {
    let folder = try TemporaryFolder()
    let path = try film(folder, "a.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p"])
    let running = Running(try Source.make(path, options: SourceOptions(loop: true, realTime: true)))
    #expect(running.next() != nil)
    #expect(running.status.current == .live)
    running.finish()
  }

  @Test(arguments: [
    ("a.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p"], PixelFormat.i420),
    ("b.mkv", ["-c:v", "ffv1"], .rgb24), ("c.avi", ["-c:v", "mjpeg", "-q:v", "2"], .jpeg),
    ("d.webm", ["-c:v", "libvpx", "-b:v", "1M"], .i420), ("e.gif", [], .rgb24),
    ("f.mjpeg", ["-c:v", "mjpeg", "-q:v", "2"], .jpeg),
  ])
  func everyPictureComesOnceInOrder(_ name: String, _ options: [String], _ pixels: PixelFormat) throws {
    let folder = try TemporaryFolder()
    let path = try film(folder, name, options)
    let running = Running(try Source.make(path, options: SourceOptions(realTime: false)))
    let frames = running.all()
    #expect(running.finish() == nil)
    #expect(try numbers(frames) == Array(0..<20))
    #expect(frames.allSatisfy { $0.format == PictureFormat(pixels, width: 160, height: 120) })
    #expect(running.status.current == .ended)
    #expect(running.status.takeWarnings() == [])
    #expect(running.counters.framesIn.load(ordering: .relaxed) == 20)
  }

  @Test func aLoopStartsAgain() throws {
    let folder = try TemporaryFolder()
    for name in ["a.mp4", "b.avi"] {
      let path = try film(folder, name, frames: 5, ["-q:v", "2"])
      let running = Running(try Source.make(path, options: SourceOptions(loop: true, realTime: false)))
      let frames = running.all(atMost: 12)
      #expect(running.finish() == nil)
      #expect(try numbers(frames) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1])
    }
  }

  /// A film of one picture, too: its end is not its next beginning.
  @Test func theLastPictureOfALoopHasItsTime() throws {
    let folder = try TemporaryFolder()
    let path = try film(folder, "one.gif", frames: 1)
    let running = Running(try Source.make(path, options: SourceOptions(loop: true, realTime: true)))
    let times = try (0..<4).map { _ in try #require(running.next()).stamps[.captured] }
    #expect(running.finish() == nil)
    // By the file's rate each has a twentieth of a second or more.
    #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 > 25_000_000 }, "\(times)")
  }

  @Test func aLoopIsToldOnceThatItsFilmIsDamaged() throws {
    let folder = try TemporaryFolder()
    let path = try film(folder, "a.avi", frames: 9, ["-c:v", "mjpeg", "-q:v", "2"])
    let bytes = try readFile(path)
    try writeFile(path, Array(bytes.prefix(bytes.count * 2 / 3)))
    let running = Running(try Source.make(path, options: SourceOptions(loop: true, realTime: false)))
    #expect(running.all(atMost: 30).count == 30)
    #expect(running.finish() == nil)
    #expect(running.status.takeWarnings().count == 1)
  }

  @Test func realTimeGivesTheSamePictures() throws {
    let folder = try TemporaryFolder()
    let path = try film(folder, "a.mp4", frames: 6)
    let running = Running(try Source.make(path, options: SourceOptions()))
    let numbers = try numbers(running.all())
    #expect(numbers == Array(0..<6))
    running.finish()
  }

  @Test func aLowerRateLeavesPicturesOut() throws {
    let folder = try TemporaryFolder()
    let path = try film(folder, "a.mp4")
    let running = Running(try Source.make(path, options: SourceOptions(fps: 5, realTime: false)))
    let numbers = try numbers(running.all())
    #expect(numbers == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18])
    running.finish()
  }

  /// A broadcast that was cut has films end to end, each with stamps from its own beginning; here the second also
  /// begins before the first.
  @Test(arguments: [nil, 5.0]) func joinedFilmsRunOn(_ rate: Double?) throws {
    let folder = try TemporaryFolder()
    let late = try film(folder, "a.ts", ["-c:v", "mpeg2video", "-q:v", "2", "-output_ts_offset", "30"])
    let early = try film(folder, "b.ts", ["-c:v", "mpeg2video", "-q:v", "2"])
    let joined = try folder.write("joined.ts", readFile(late) + readFile(early) + readFile(early))
    let running = Running(try Source.make(joined, options: SourceOptions(fps: rate, realTime: false)))
    let frames = running.all()
    #expect(running.finish() == nil)
    let step = rate == nil ? 1 : 2
    #expect(frames.count == 60 / step)
    let times = frames.map { $0.stamps[.captured] }
    for (one, next) in zip(times, times.dropFirst()) {
      #expect(abs(Int(next - one) / 1_000_000 - 100 * step) <= 1, "\(next - one)")
    }
  }

  /// The same where the second runs ahead by minutes.
  @Test func aBroadcastThatJumpsAheadRunsOn() throws {
    let folder = try TemporaryFolder()
    let near = try film(folder, "a.ts", ["-c:v", "mpeg2video", "-q:v", "2"])
    let far = try film(folder, "b.ts", ["-c:v", "mpeg2video", "-q:v", "2", "-output_ts_offset", "200"])
    let joined = try folder.write("joined.ts", readFile(near) + readFile(far))
    let running = Running(try Source.make(joined, options: SourceOptions(realTime: false)))
    let times = running.all().map { $0.stamps[.captured] }
    #expect(running.finish() == nil)
    #expect(times.count == 40)
    for (one, next) in zip(times, times.dropFirst()) {
      #expect(abs(Int(next - one) / 1_000_000 - 100) <= 1, "\(next - one)")
    }
  }

  /// Slides and recorded screens stand still for minutes, in containers whose stamps do not jump.
  @Test(arguments: [("a.mkv", "ffv1"), ("a.mp4", "libx264")])
  func pausesOfMinutesAreKept(_ name: String, _ codec: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.file(name)
    try ffmpeg([
      "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10", "-frames:v", "3", "-vf", "setpts=N*90/TB", "-vsync",
      "passthrough", "-c:v", codec, path,
    ])
    let running = Running(try Source.make(path, options: SourceOptions(realTime: false)))
    let stamps = running.all().map(\.stamps)
    #expect(running.finish() == nil)
    #expect(stamps.map(\.filmTime) == [0, 90_000_000_000, 180_000_000_000])
    #expect(stamps.count == 3 && stamps[2][.captured] - stamps[0][.captured] == 180_000_000_000)
  }

  /// In its own time a film of slides shows each for as long as it says, and no sooner.
  @Test func slidesStandForTheirTime() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("slides.mkv")
    try ffmpeg([
      "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=0.5", "-frames:v", "2", "-c:v", "ffv1", path,
    ])
    let running = Running(try Source.make(path, options: SourceOptions()))
    let times = running.all().map { $0.stamps[.captured] }
    running.finish()
    #expect(times.count == 2)
    #expect(times.count < 2 || (1_900_000_000...10_000_000_000).contains(times[1] - times[0]), "\(times)")
    #expect(running.status.interval.load(ordering: .relaxed) == 2_000_000_000)
  }

  @Test(arguments: [0.5, 0.8])
  func aFilmThatEndsEarlyGivesWhatItHasAndWarns(_ share: Double) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("whole.mp4")
    try ffmpeg([
      "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-frames:v", "50", "-movflags", "+faststart",
      path,
    ])
    let whole = try readFile(path)
    let cut = try folder.write("cut.mp4", Array(whole[..<Int(Double(whole.count) * share)]))
    let running = Running(try Source.make(cut, options: SourceOptions(realTime: false)))
    let frames = running.all()
    #expect(running.finish() == nil)
    #expect(frames.count > 5 && frames.count < 50)
    let warnings = running.status.takeWarnings()
    #expect(warnings.count == 1 && warnings[0].contains(cut), "\(warnings)")
  }

  /// An edit list leaves out what is before a cut, and an AVI counts places without a picture.
  @Test func aFilmThatIsAllThereIsNotWarnedOf() throws {
    let folder = try TemporaryFolder()
    let whole = try film(folder, "a.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p"])
    let edited = folder.file("edited.mp4")
    try ffmpeg(["-ss", "1", "-i", whole, "-c", "copy", edited])
    let sparse = try film(
      folder, "sparse.avi",
      ["-vf", "select='not(eq(mod(n,5),3))'", "-vsync", "passthrough", "-c:v", "mpeg4", "-q:v", "2"])
    for (path, count) in [(edited, 10), (sparse, 20)] {
      let running = Running(try Source.make(path, options: SourceOptions(realTime: false)))
      #expect(running.all().count == count, "\(path)")
      #expect(running.finish() == nil)
      #expect(running.status.takeWarnings() == [])
    }
  }

  @Test func brokenJPEGsOfAFilmAreToldOf() throws {
    let folder = try TemporaryFolder()
    var bytes = try readFile(film(folder, "a.avi", frames: 6, ["-c:v", "mjpeg", "-q:v", "2"]))
    let ends = bytes.indices.dropLast().filter { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xD9 }
    try #require(ends.count == 6)
    for end in [ends[2], ends[4]] { (bytes[end], bytes[end + 1]) = (0x55, 0x55) }
    let path = try folder.write("broken.avi", bytes)
    let running = Running(try Source.make(path, options: SourceOptions(realTime: false)))
    #expect(running.all().count == 4)
    #expect(running.finish() == nil)
    let warnings = running.status.takeWarnings()
    #expect(warnings.count == 1 && warnings[0].contains("damaged in 2 places"), "\(warnings)")
  }

  @Test func aFilmWithoutItsIndexIsRefused() throws {
    let folder = try TemporaryFolder()
    let whole = try readFile(film(folder, "a.mp4"))
    let path = try folder.write("cut.mp4", Array(whole[..<(whole.count / 2)]))
    #expect {
      _ = try Source.make(path, options: SourceOptions())
    } throws: {
      ($0 as? InputError)?.exitCode == EX_DATAERR && "\($0)".contains(path)
    }
  }

  /// HD video is BT.709, standard definition BT.601; both must come out in the colours that went in.
  @Test(arguments: [
    ("1280x720", "bt709", "tv"), ("1280x720", "unspecified", "tv"), ("640x480", "smpte170m", "tv"),
    ("640x480", "bt709", "tv"), ("640x480", "bt709", "pc"), ("640x480", "bt2020nc", "tv"),
  ])
  func coloursFollowTheMatrix(_ size: String, _ matrix: String, _ range: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.mkv")
    let means = matrix == "unspecified" ? "bt709" : matrix
    var options = [
      "-f", "lavfi", "-i", "color=0x20C040:size=\(size):rate=5", "-frames:v", "2", "-vf",
      "scale=out_color_matrix=\(means == "bt2020nc" ? "bt2020" : means):out_range=\(range),format=yuv420p",
      "-c:v", "ffv1", "-color_range", range,
    ]
    if matrix != "unspecified" { options += ["-colorspace", matrix] }
    try ffmpeg(options + [path])
    let running = Running(try Source.make(path, options: SourceOptions(realTime: false)))
    let frame = try #require(running.next())
    running.finish()
    // Planes as they are, and what they mean.
    #expect(frame.format.pixels == .i420 && frame.format.encoding.isFullRange == (range == "pc"))
    #expect(
      try frame.rgb().isNear(100, 100, [0x20, 0xC0, 0x40], within: 5))
  }

  @Test func oddSizesAndFullRangeCome() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.mkv")
    try ffmpeg([
      "-f", "lavfi", "-i", "color=0xE0E0E0:size=102x76:rate=5,format=yuvj444p,crop=101:75:0:0:exact=1",
      "-frames:v", "2", "-pix_fmt", "yuvj444p", "-c:v", "ffv1", path,
    ])
    let running = Running(try Source.make(path, options: SourceOptions(realTime: false)))
    let frame = try #require(running.next())
    running.finish()
    #expect(frame.format == PictureFormat(.rgb24, width: 101, height: 75))
    #expect(try frame.rgb().isNear(50, 40, [0xE0, 0xE0, 0xE0], within: 3))
  }

  @Test(arguments: [["-pix_fmt", "yuv420p"], ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"]])
  func turnedFilmsStandUpright(_ codec: [String]) throws {
    let folder = try TemporaryFolder()
    let flat = folder.file("flat.mov")
    try ffmpeg(
      [
        "-f", "lavfi", "-i", "color=blue:size=160x120:rate=5,drawbox=0:0:160:60:red:fill", "-frames:v", "3",
      ] + codec + [flat])
    let turned = folder.file("turned.mov")
    try ffmpeg(["-i", flat, "-c", "copy", "-metadata:s:v:0", "rotate=90", turned])
    let running = Running(try Source.make(turned, options: SourceOptions(realTime: false)))
    let frame = try #require(running.next())
    running.finish()
    #expect(frame.format == PictureFormat(.rgb24, width: 120, height: 160))
    // ffmpeg writes a quarter turn against the clock: the upper half becomes the left one.
    #expect(try frame.rgb().isNear(20, 80, [255, 0, 0], within: 20))
    #expect(try frame.rgb().isNear(100, 80, [0, 0, 255], within: 20))
  }

  /// Pixels of DVDs and of HDV are no squares. What is square but for a rounding stays as it is.
  @Test(arguments: [
    ("2", ["-c:v", "libx264", "-pix_fmt", "yuv420p"], PictureFormat(.rgb24, width: 320, height: 120)),
    ("1/2", ["-c:v", "mjpeg", "-q:v", "2"], PictureFormat(.rgb24, width: 80, height: 120)),
    ("641/640", ["-c:v", "libx264", "-pix_fmt", "yuv420p"], PictureFormat(.i420, width: 160, height: 120)),
  ])
  func pixelsAreShownAsSquares(_ aspect: String, _ codec: [String], _ format: PictureFormat) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.mkv")
    try ffmpeg(
      [
        "-f", "lavfi", "-i", "color=blue:size=160x120:rate=5,drawbox=0:0:80:120:red:fill,setsar=\(aspect)",
        "-frames:v", "2",
      ] + codec + [path])
    let running = Running(try Source.make(path, options: SourceOptions(realTime: false)))
    let frame = try #require(running.next())
    running.finish()
    try #require(frame.format == format)
    #expect(try frame.rgb().isNear(format.width / 4, 60, [255, 0, 0], within: 20))
    #expect(try frame.rgb().isNear(format.width * 3 / 4, 60, [0, 0, 255], within: 20))
  }

  /// The size that is wanted may grow while a film plays, so only what is larger than any is made smaller.
  @Test(arguments: [("1280x720", 1280, 720), ("2560x1440", 1920, 1080)])
  func onlyVeryLargeFilmsAreMadeSmaller(_ size: String, _ width: Int, _ height: Int) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.mkv")
    try ffmpeg([
      "-f", "lavfi", "-i", "color=gray:size=\(size):rate=5,format=yuv444p", "-frames:v", "2", "-c:v", "ffv1",
      path,
    ])
    let running = Running(
      try Source.make(path, options: SourceOptions(width: 64, height: 64, realTime: false)))
    let frame = try #require(running.next())
    running.finish()
    #expect(frame.format == PictureFormat(.rgb24, width: width, height: height))
  }

  /// JPEGs without their ends, each of them.
  @Test(arguments: [nil, 5.0]) func aFilmOfBrokenJPEGsIsRefused(_ rate: Double?) throws {
    let folder = try TemporaryFolder()
    var bytes = try readFile(film(folder, "a.avi", frames: 6, ["-c:v", "mjpeg", "-q:v", "2"]))
    for index in bytes.indices.dropLast() where bytes[index] == 0xFF && bytes[index + 1] == 0xD9 {
      (bytes[index], bytes[index + 1]) = (0x55, 0x55)
    }
    let path = try folder.write("broken.avi", bytes)
    let running = Running(try Source.make(path, options: SourceOptions(fps: rate, realTime: false)))
    #expect(running.all().isEmpty)
    #expect(running.finish()?.kind == .wrongKind)
  }

  @Test func mutatedFilmsNeverCrash() throws {
    let folder = try TemporaryFolder()
    var random = SplitMix(seed: 9)
    for name in ["a.mp4", "a.avi", "a.mkv", "a.gif"] {
      let whole = try readFile(film(folder, name, frames: 8))
      for _ in 0..<25 {
        var bytes = whole
        for _ in 0..<20 {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        let path = try folder.write("mutated-" + name, bytes)
        guard let input = try? Source.make(path, options: SourceOptions(realTime: false)) else { continue }
        let running = Running(input)
        _ = running.all(atMost: 40)
        running.finish()
      }
    }
  }
}
