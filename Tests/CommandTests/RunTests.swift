import Base
import Glibc
import TestSupport
import Testing

/// Runs without a model: the way of a frame.
@Suite(.serialized) struct RunTests {
  static let clip = Program.checkout + "/Fixtures/clips/demo.mp4"

  @Test func aFilmBecomesAFilmFrameByFrame() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "run", "--input", Self.clip, "--model", "none", "--output", folder.file("a.mp4"), "--output",
      folder.file("b.mkv"))
    #expect(result.code == 0, "\(result.errors)")
    for name in ["a.mp4", "b.mkv"] {
      let film = try Film(folder.file(name))
      #expect(film.frames == 150)
      #expect(film.size == "640,480")
      #expect(abs(film.seconds - 5) < 0.1)
    }
  }

  /// The input by another of its names, one new file twice, and one old file by two names.
  @Test func nothingIsWrittenOverWhatIsReadNorTwiceToOnePlace() throws {
    let folder = try TemporaryFolder()
    let film = folder.file("a.mp4")
    let whole = try readFile(Self.clip)
    try writeFile(film, whole)
    symlink(film, folder.file("link.mp4"))
    link(film, folder.file("hard.mp4"))
    for (input, outputs, words) in [
      (film, ["a.mp4"], "would write over --input"), (film, ["link.mp4"], "would write over --input"),
      (folder.file("link.mp4"), ["b.mkv", "../\(folder.name)/hard.mp4"], "would write over --input"),
      ("test", ["b.mp4", "../\(folder.name)/b.mp4"], "are the same place"),
      ("test", ["a.mp4", "hard.mp4"], "are the same place"),
    ] {
      let sinks = outputs.flatMap { ["--output", folder.file($0)] }
      let result = try Program.start(["run", "--input", input, "--model", "none", "--frames", "2"] + sinks)
        .wait()
      #expect(result.code == 64, "\(result.errors)")
      #expect(result.errors.contains(words), "\(result.errors)")
    }
    let twice = try Program.run(
      "run", "--input", "test", "--model", "none", "--frames", "2", "--output", "-", "--output", "-")
    #expect(twice.code == 64 && twice.output.isEmpty, "\(twice.errors)")
    #expect(try readFile(film) == whole)
    #expect(Set(folder.names) == ["a.mp4", "link.mp4", "hard.mp4"])
  }

  @Test func framesEndsTheRun() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "run", "--input", Self.clip, "--model", "none", "--frames", "30", "--output", folder.file("a.mp4"))
    #expect(result.code == 0, "\(result.errors)")
    #expect(try Film(folder.file("a.mp4")).frames == 30)
    #expect(result.errors.contains("30 frames"))
  }

  @Test func theTestPatternIsRecordedLive() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "run", "--input", "test", "--model", "none", "--frames", "30", "--output", folder.file("clip.mp4"))
    #expect(result.code == 0, "\(result.errors)")
    // A live recording may lose frames where the machine is busy.
    #expect((1...30).contains(try Film(folder.file("clip.mp4")).frames))
  }

  @Test func standardOutputIsMotionJPEGAndNothingElse() throws {
    let result = try Program.run(
      "run", "--input", Self.clip, "--model", "none", "--frames", "10", "--output", "-")
    #expect(result.code == 0, "\(result.errors)")
    #expect(result.output.starts(with: [0xFF, 0xD8, 0xFF]))
    #expect(result.output.suffix(2) == [0xFF, 0xD9])
    let folder = try TemporaryFolder()
    try writeFile(folder.file("out.mjpeg"), result.output)
    #expect(try Film(folder.file("out.mjpeg")).frames == 10)
  }

  /// Less of it, fewer bytes: of frames and of stills.
  @Test func qualityIsThatOfEveryJPEG() throws {
    let folder = try TemporaryFolder()
    var sizes: [[Int]] = []
    for quality in ["5", "50", "95"] {
      let result = try Program.run(
        "run", "--input", Self.clip, "--model", "none", "--frames", "1", "--quality", quality, "--output",
        folder.file("a.mjpeg"), "--output", folder.file("a.jpg"))
      #expect(result.code == 0, "\(result.errors)")
      sizes.append(try ["a.mjpeg", "a.jpg"].map { try readFile(folder.file($0)).count })
    }
    for output in 0..<2 {
      #expect(sizes[0][output] * 2 < sizes[1][output] && sizes[1][output] * 2 < sizes[2][output], "\(sizes)")
    }
  }

  /// Else a signal that comes while the first one is busy would be the end: decoders and models have threads too.
  @Test func noThreadButTheFirstTakesSignals() throws {
    let folder = try TemporaryFolder()
    let running = try Program.start(
      ["run", "--input", Self.clip, "--loop", "--size", "64x64", "--output", folder.file("a.mp4"), "--json"])
    try running.expect { String(decoding: $0, as: UTF8.self).contains(#""name":"live""#) }
    let script = #"cd /proc/$0/task; for task in *; do [ $task = $0 ] || grep SigBlk $task/status; done"#
    let masks = try Running("/bin/bash", ["-c", script, "\(running.process)"]).wait()
      .text.split(separator: "\n").map { UInt($0.split(separator: "\t").last ?? "", radix: 16) ?? 0 }
    let wanted = [SIGHUP, SIGINT, SIGTERM].reduce(0 as UInt) { $0 | 1 << UInt($1 - 1) }
    #expect(masks.count >= 5)
    #expect(masks.allSatisfy { $0 & wanted == wanted }, "\(masks.map { String($0, radix: 16) })")
    running.send(SIGTERM)
    #expect(running.wait(seconds: 60).code == 0)
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func aSignalFinishesTheRecording(signal: Int32) throws {
    let folder = try TemporaryFolder()
    let running = try Program.start(
      ["run", "--input", "test", "--model", "none", "--output", folder.file("a.mp4"), "--json"])
    try running.expect(lines: 2)
    running.send(signal)
    let result = running.wait(seconds: 30)
    #expect(result.code == 0, "\(result.errors)")
    #expect(try Film(folder.file("a.mp4")).frames > 0)
  }

  /// As nohup starts it, and a shell's job in the background.
  @Test func aSignalThatIsIgnoredStaysSo() throws {
    let folder = try TemporaryFolder()
    let script = #"trap "" HUP INT; exec "$0" run --input test --model none --json --output "$1""#
    let running = try Running("/bin/bash", ["-c", script, Program.path, folder.file("a.mp4")])
    try running.expect(lines: 1)
    running.send(SIGHUP)
    running.send(SIGINT)
    #expect(!running.ends(within: 2))
    running.send(SIGTERM)
    #expect(running.wait(seconds: 30).code == 0)
    #expect(try Film(folder.file("a.mp4")).frames > 0)
  }

  @Test func jsonIsOneObjectALine() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "run", "--input", "test", "--model", "none", "--frames", "5", "--json", "--output",
      folder.file("a.mjpeg"))
    let lines = result.text.split(separator: "\n")
    #expect(!lines.isEmpty)
    #expect(lines.allSatisfy { $0.hasPrefix("{\"version\":") && $0.hasSuffix("}") })
    #expect(lines.last?.contains("\"frames_out\":5") == true)
  }

  @Test func theWebServerShowsThePicture() throws {
    let running = try Program.start(
      ["run", "--input", "test", "--model", "none", "--output", "http://127.0.0.1:0"])
    let port = try running.port()
    let snapshot = try ask("GET /snapshot", port: port)
    #expect(snapshot.status == 200)
    #expect(snapshot.body.starts(with: [0xFF, 0xD8, 0xFF]))
    for path in ["/stream", "/?action=stream"] {
      let stream = try HTTPClient.asking("GET \(path)", port)
      let head = try #require(stream.answer(hasBody: false))
      #expect(head.status == 200)
      #expect(head.headers["content-type"]?.contains("multipart/x-mixed-replace") == true)
      for _ in 0..<5 { #expect(try #require(stream.part()).body.starts(with: [0xFF, 0xD8, 0xFF])) }
    }
    let state = try running.state(port, until: "\"name\":\"live\"")
    #expect(state.contains("\"model\":\"none\""))
    #expect(state.contains("\"input\":\"test pattern\""))
    #expect(try ask("PATCH /settings", port: port, body: #"{"steps":2}"#).status == 400)
    running.send(SIGTERM)
    #expect(running.wait(seconds: 30).code == 0)
  }

  /// Standard output is a socket that is full and that nobody reads: the first signal's end waits a second for it.
  @Test func aSecondSignalEndsAtOnce() throws {
    let (near, far) = try Self.fullSocket()
    defer {
      close(near)
      close(far)
    }
    let running = try Running(
      Program.path,
      ["run", "--input", "test", "--model", "none", "--output", "-", "--output", "http://127.0.0.1:0"],
      standardOutput: near)
    let port = try running.port()
    // So many pictures are lost where the first of them waits in a write.
    var dropped = 0
    for _ in 0..<600 where dropped < 10 {
      let state = try ask("GET /state", port: port).text
      dropped = state.firstMatch(of: /"label":"standard output","dropped":(\d+)/).flatMap { Int($0.1) } ?? 0
      usleep(50_000)
    }
    #expect(dropped >= 10)
    // Both come while it is stopped, so that the second is seen before the first one's end can come.
    for signal in [SIGSTOP, SIGINT, SIGTERM, SIGCONT] { running.send(signal) }
    let result = running.wait(seconds: 60)
    #expect(result.code == 128 + SIGTERM, "\(result.errors)")
  }

  /// Whoever asked for a report each second and reads none can still end the run.
  @Test func anUnreadReportHoldsUpNothing() throws {
    let (near, far) = try Self.fullSocket()
    defer {
      close(near)
      close(far)
    }
    let folder = try TemporaryFolder()
    let running = try Running(
      Program.path,
      [
        "run", "--json", "--input", "test", "--model", "none", "--output", "http://127.0.0.1:0", "--output",
        folder.file("a.mkv"),
      ],
      standardOutput: near)
    _ = try running.port()
    // Longer than to the next report.
    #expect(!running.ends(within: 3))
    running.send(SIGTERM)
    #expect(running.wait(seconds: 30).code == 0)
    #expect(try Film(folder.file("a.mkv")).frames > 0)
  }

  /// Two ends of a stream, of which the first takes no more bytes.
  private static func fullSocket() throws -> (near: Int32, far: Int32) {
    var ends: [Int32] = [0, 0]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
      throw SystemFailure("socketpair")
    }
    let bytes = [UInt8](repeating: 0, count: 4096)
    while send(ends[0], bytes, bytes.count, Int32(MSG_DONTWAIT)) > 0 {}
    return (ends[0], ends[1])
  }

  @Test func oneProgramShowsWhatAnotherServes() throws {
    let folder = try TemporaryFolder()
    let server = try Program.start(
      ["run", "--input", Self.clip, "--loop", "--model", "none", "--output", "http://127.0.0.1:0"])
    let port = try server.port()
    let result = try Program.run(
      "run", "--input", "http://127.0.0.1:\(port)/stream", "--model", "none", "--frames", "20", "--output",
      folder.file("a.mp4"))
    #expect(result.code == 0, "\(result.errors)")
    let film = try Film(folder.file("a.mp4"))
    #expect((1...20).contains(film.frames))
    #expect(film.size == "640,480")
    server.send(SIGTERM)
    #expect(server.wait(seconds: 30).code == 0)
  }

  @Test(arguments: ["rtsp", "http", "srt"])
  func aServerThatIsNotThereIsToldOf(scheme: String) throws {
    // Nobody listens at port 1.
    let address = "\(scheme)://localhost:1/live"
    let running = try Program.start(
      ["run", "--input", address, "--model", "none", "--output", "http://127.0.0.1:0"])
    let port = try running.port()
    let state = try running.state(port, until: "waiting")
    #expect(state.contains("localhost:1"), "\(state)")
    #expect(state.contains("waiting"), "\(state)")
    running.send(SIGTERM)
    #expect(running.wait(seconds: 30).code == 0)
  }

  @Test func theTokenMayComeFromTheEnvironment() throws {
    let words = #"run --input test --model none --output http://127.0.0.1:0"#
    for (script, tokens) in [
      ("TURBOCAM_TOKEN=quiet exec \"$0\" \(words)", ["quiet": 200, "loud": 401]),
      ("TURBOCAM_TOKEN=quiet exec \"$0\" \(words) --token loud", ["quiet": 401, "loud": 200]),
      ("TURBOCAM_TOKEN= exec \"$0\" \(words)", ["": 200]),
    ] {
      let running = try Running("/bin/bash", ["-c", script, Program.path])
      let port = try running.port()
      for (token, status) in tokens {
        let answer = try ask("GET /state" + (token.isEmpty ? "" : "?token=\(token)"), port: port)
        #expect(answer.status == status, "\(script) with \(token)")
      }
      running.send(SIGTERM)
      #expect(running.wait(seconds: 30).code == 0)
    }
  }

  /// A white left third becomes a white right third.
  @Test func mirrorTurnsThePictureWithoutAModel() throws {
    let folder = try TemporaryFolder()
    let picture = folder.file("left.png")
    let made = try Running(
      "/usr/bin/ffmpeg",
      [
        "-v", "error", "-f", "lavfi", "-i", "color=black:size=96x64,drawbox=0:0:32:64:white:fill",
        "-frames:v",
        "1", picture,
      ]
    ).wait()
    #expect(made.code == 0, "\(made.errors)")
    let result = try Program.run(
      "run", "--input", picture, "--model", "none", "--mirror", "--output", folder.file("right.png"))
    #expect(result.code == 0, "\(result.errors)")
    let columns = try Running(
      "/usr/bin/ffmpeg",
      [
        "-v", "error", "-i", folder.file("right.png"), "-vf", "scale=3:1:flags=area", "-f", "rawvideo",
        "-pix_fmt", "gray", "-",
      ]
    ).wait()
    #expect(columns.output.count == 3)
    #expect(
      columns.output.prefix(2).allSatisfy { $0 < 20 } && columns.output.last! > 235, "\(columns.output)")
  }

  @Test func aLostOutputIsTold() throws {
    let folder = try TemporaryFolder()
    let script =
      #"ulimit -f 1536; exec "$0" run --input "$1" --loop --model none --output "$2" --output http://127.0.0.1:0"#
    let running = try Running(
      "/bin/bash", ["-c", script, Program.path, Self.clip, folder.file("full.mjpeg")])
    let port = try running.port()
    let state = try running.state(port, until: #""error":"writing "#)
    #expect(
      state.contains(#""error":"writing \#(folder.file("full.mjpeg")): write: File too large"#), "\(state)")
    #expect(state.contains(#""status":{"name":"trouble","text":"writing "#), "\(state)")
    #expect(state.contains(#""error":null"#), "\(state)")
    running.send(SIGTERM)
    #expect(running.wait(seconds: 30).code == 74)
  }

  /// Else the first file that is opened is standard error, and messages go among its pictures.
  @Test func standardDescriptorsMayBeClosed() throws {
    let folder = try TemporaryFolder()
    for closed in ["2>&-", "<&- 2>&-", "<&- >&- 2>&-"] {
      let script = #"exec "$0" run --input "$1" --model none --frames 3 --output "$2" \#(closed)"#
      let film = folder.file("a.mjpeg")
      let result = try Running("/bin/bash", ["-c", script, Program.path, Self.clip, film]).wait()
      #expect(result.code == 0)
      #expect(try readFile(film).suffix(2) == [0xFF, 0xD9], "\(closed)")
      #expect(try Film(film).frames == 3, "\(closed)")
    }
  }

  @Test func aLostOutputLeavesTheOthers() throws {
    let folder = try TemporaryFolder()
    // No file may grow beyond 1.5 MB: the pictures need more, the film does not.
    let script = #"ulimit -f 1536; exec "$0" run --input "$1" --model none --output "$2" --output "$3""#
    let result = try Running(
      "/bin/bash",
      ["-c", script, Program.path, Self.clip, folder.file("full.mjpeg"), folder.file("good.mp4")]
    ).wait()
    #expect(result.code >= 64 && result.code <= 78, "\(result.errors)")
    // What rewrites a terminal's line is noise in a log.
    #expect(!result.errors.contains("\u{1B}") && !result.errors.contains("\r"), "\(result.errors)")
    #expect(try Film(folder.file("good.mp4")).frames == 150)
  }
}

/// What ffprobe says of a film.
struct Film {
  struct ProbeFailure: Error { let said: String }

  var frames: Int
  var size: String
  var seconds: Double

  init(_ path: String) throws {
    let probe = try Running(
      "/usr/bin/ffprobe",
      [
        "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
        "stream=width,height,nb_read_frames:format=duration", "-of", "csv=p=0", path,
      ]
    ).wait()
    guard probe.code == 0 else { throw ProbeFailure(said: "ffprobe \(path): \(probe.errors)") }
    let lines = probe.text.split(separator: "\n")
    let stream = lines.first?.split(separator: ",") ?? []
    guard stream.count == 3, let frames = Int(stream[2]) else {
      throw ProbeFailure(said: "ffprobe \(path): \(probe.text)")
    }
    self.frames = frames
    size = "\(stream[0]),\(stream[1])"
    seconds = lines.count > 1 ? Double(lines[1]) ?? 0 : 0
  }
}
