import Base
import Frames
import Glibc
import Inputs
import TestSupport
import Testing

@Suite struct SourceTests {
  /// The error must name the thing and say what to do.
  private func refuses(_ spec: String, _ kind: InputError.Kind, _ code: Int32, naming: String? = nil) {
    do {
      _ = try Source.make(spec, options: SourceOptions())
      Issue.record("\(spec) was taken")
    } catch let error as InputError {
      #expect(error.kind == kind, "\(error)")
      #expect(error.exitCode == code)
      #expect(error.description.contains(naming ?? spec), "\(error)")
      #expect(!error.remedy.isEmpty, "\(error)")
    } catch {
      Issue.record("\(error)")
    }
  }

  @Test func thingsThatAreNoInputs() {
    refuses("", .usage, EX_USAGE)
    refuses("-", .usage, EX_USAGE, naming: "standard input")
    refuses("ftp://host/film.mp4", .usage, EX_USAGE, naming: "ftp://")
    refuses("/nowhere/film.mp4", .missing, EX_NOINPUT)
    refuses("film\u{7}.mp4", .missing, EX_NOINPUT)
    refuses("/tmp", .wrongKind, EX_DATAERR)
    refuses("/dev/null", .wrongKind, EX_DATAERR)
    refuses("/dev/video9999", .missing, EX_NOINPUT)
    refuses("/dev/../etc", .wrongKind, EX_DATAERR)
  }

  @Test(arguments: [
    ("camera", InputSpec.firstCamera), ("test", .pattern), ("Camera", .file("Camera")),
    ("/dev/video9999", .device("/dev/video9999")), ("/dev/null", .device("/dev/null")),
    ("rtsps://camera.local/live", .address("rtsps://camera.local/live")),
    ("HTTP://camera.local/a.jpg", .address("HTTP://camera.local/a.jpg")),
    ("a:b.mp4", .file("a:b.mp4")), ("a b://c.mp4", .file("a b://c.mp4")), ("://a", .file("://a")),
  ])
  func aTextNamesOneKindOfInput(text: String, wanted: InputSpec) throws {
    let spec = try InputSpec(text)
    #expect(spec == wanted)
    #expect(spec.description == text)
  }

  @Test func filesThatAreNoPictures() throws {
    let folder = try TemporaryFolder()
    // Drawn with a seed: libav takes some bytes for some format.
    var random = SplitMix(seed: 36)
    let garbage = (0..<5000).map { _ in UInt8.random(in: 0...255, using: &random) }
    refuses(folder.file("empty.png"), .missing, EX_NOINPUT)
    try refuses(folder.write("empty.jpg", ""), .wrongKind, EX_DATAERR)
    try refuses(folder.write("garbage.bin", garbage), .wrongKind, EX_DATAERR)
    try refuses(
      folder.write("text.png", "this is a letter, not a picture\n"), .wrongKind, EX_DATAERR)
    try refuses(folder.write("garbage.mp4", garbage), .wrongKind, EX_DATAERR)
  }

  /// Opening a pipe that nobody writes to would wait for ever.
  @Test func pipesAndSocketsAreNoFiles() throws {
    let folder = try TemporaryFolder()
    let pipe = folder.file("pipe.mp4")
    try #require(mkfifo(pipe, 0o600) == 0)
    refuses(pipe, .wrongKind, EX_DATAERR, naming: "named pipe")
    #expect { try PictureFile.read(pipe) } throws: { "\($0)".contains("named pipe") }
    let socket = folder.file("socket.mp4")
    try #require(mknod(socket, S_IFSOCK | 0o600, 0) == 0)
    refuses(socket, .wrongKind, EX_DATAERR, naming: "socket")
  }

  @Test func anAudioFileHasNoVideo() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("tone.wav")
    try ffmpeg(["-f", "lavfi", "-i", "sine=duration=0.2", path])
    refuses(path, .wrongKind, EX_DATAERR)
  }

  @Test func sizesAreBounded() throws {
    let folder = try TemporaryFolder()
    let wide = folder.file("wide.png")
    try ffmpeg(["-f", "lavfi", "-i", "color=size=17000x16:rate=1", "-frames:v", "1", wide])
    refuses(wide, .wrongKind, EX_DATAERR)
  }

  @Test func ratesAndSizesOfThePatternAreBounded() {
    for options in [
      SourceOptions(width: 0, height: 10), SourceOptions(width: 10, height: 20000), SourceOptions(fps: 0),
      SourceOptions(fps: .nan), SourceOptions(fps: -3),
    ] {
      #expect { _ = try Source.make("test", options: options) } throws: {
        ($0 as? InputError)?.kind == .usage
      }
    }
  }

  @Test(arguments: [0, -1, 1e-12, 1e12, .nan, .infinity]) func ratesAreBoundedForFilesToo(_ rate: Double) {
    #expect {
      _ = try Source.make("http://127.0.0.1:1/", options: SourceOptions(fps: rate))
    } throws: {
      ($0 as? InputError)?.kind == .usage
    }
  }

  @Test(arguments: [
    ("rtsp://anna:secret@camera.local:554/live", "rtsp://***@camera.local:554/live"),
    ("rtsp://anna:secret@camera.local/live@2", "rtsp://***@camera.local/live@2"),
    ("rtsp://anna:se@cret@camera.local", "rtsp://***@camera.local"),
    ("http://camera.local/video?user=anna&pwd=secret", "http://camera.local/video?…"),
    ("http://anna:secret@camera.local?to=a@b", "http://***@camera.local?…"),
    ("srt://camera.local:9000?passphrase=secret", "srt://camera.local:9000?…"),
    ("http://camera.local/@home", "http://camera.local/@home"),
    ("http://camera.local", "http://camera.local"),
  ])
  func secretsInAddressesAreNotShown(address: String, shown: String) throws {
    #expect(try Source.make(address, options: SourceOptions()).label == shown)
  }

  /// By its name, whether it is there or not; else by what the path leads to.
  @Test func devicesAreToldFromFiles() throws {
    let folder = try TemporaryFolder()
    let link = folder.file("link.mp4")
    try #require(symlink("/dev/null", link) == 0)
    for path in ["/dev/video9999", "/dev/v4l/by-id/nobody", "/dev/null", link] {
      #expect(isDevice(path), "\(path)")
    }
    let others = ["", "/dev", "/dev/shm/nobody.mp4", "/nowhere/video0", folder.path, "http://127.0.0.1:1/a"]
    for path in others { #expect(!isDevice(path), "\(path)") }
    refuses(link, .wrongKind, EX_DATAERR, naming: "not a camera")
    refuses("/dev/shm/nobody.mp4", .missing, EX_NOINPUT, naming: "there is no such file")
  }

  /// Not a test of what is there, which differs, but that nothing there upsets it.
  @Test func camerasAreListedByNumber() {
    let numbers = Cameras.list().compactMap { Int($0.path.dropFirst("/dev/video".count)) }
    #expect(numbers == numbers.sorted())
  }
}
