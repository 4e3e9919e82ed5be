import CPUBackend
import Glibc
import TestSupport
import Testing

/// What is wrong outside the command line: a message with the path and the remedy, and nothing half-written.
@Suite struct BadInputTests {
  /// Runs in a folder; `{}` in a word is its path. Gives what is left there, too.
  private func run(_ words: [String], _ files: [String: [UInt8]] = [:]) throws -> (Program.Result, [String]) {
    let folder = try TemporaryFolder()
    for (name, bytes) in files { try writeFile(folder.file(name), bytes) }
    let result = try Program.start(words.map { $0.replacing("{}", with: folder.path) }).wait()
    return (result, folder.names.filter { files[$0] == nil })
  }

  typealias Wanted = (words: [String], code: Int32, says: String)

  static let cases: [Wanted] = named + (CPUBackend.hasInt8 ? unwritable : [])

  private static let named: [Wanted] = [
    (["run", "--model", "none", "--input", "{}/no.mp4", "--output", "{}/o.mp4"], 66, "no.mp4"),
    (["run", "--model", "none", "--input", "{}/text.jpg", "--output", "{}/o.mp4"], 65, "text.jpg"),
    (["run", "--model", "none", "--input", "/dev/null", "--output", "{}/o.mp4"], 65, "/dev/null"),
    (["run", "--model", "none", "--input", "/dev/video99", "--output", "{}/o.mp4"], 66, "/dev/video99"),
    (["run", "--model", "none", "--input", "ftp://a/b", "--output", "{}/o.mp4"], 64, "ftp"),
    (["run", "--model", "none", "--input", "test", "--output", "{}/o.mpg"], 64, ".mp4"),
    (["run", "--model", "none", "--input", "test", "--output", "{}/none/o.mp4"], 73, "none"),
    (["run", "--model", "none", "--input", "test", "--output", "http://0.0.0.0:0"], 64, "TURBOCAM_TOKEN="),
    (["run", "--model", "none", "--input", "test", "--output", "http://127.0.0.1:99999"], 64, "99999"),
    (["run", "--model", "none", "--input", "test", "--output", "/dev/null"], 69, "/dev/null"),
    (["run", "--model", "{}/model", "--input", "test", "--output", "{}/o.mp4"], 78, "/model"),
    (["run", "--model", "nobody/nothing", "--input", "test", "--output", "{}/o.mp4"], 78, "download"),
    (["run", "--model", "Sparc", "--input", "test", "--output", "{}/o.mp4"], 78, "Did you mean spark?"),
    (["image", "{}/no.jpg", "--output", "{}/o.png"], 66, "no.jpg"),
    (["image", "http://127.0.0.1:1/a.jpg", "--output", "{}/o.png"], 69, "127.0.0.1:1"),
    (["image", "{}/text.jpg", "--output", "{}/o.png"], 65, "text.jpg"),
    (["image", "{}/text.jpg", "--output", "{}/none/o.png"], 73, "none"),
    (["quantize", "--frames", "{}/text.jpg", "--output", "{}/o"], 64, "MODEL"),
    (["quantize", "spark", "--output", "{}/o"], 64, "--frames"),
    (["quantize", "spark", "--frames", "{}/text.jpg"], 64, "--output"),
    (["quantize", "spark", "--frames", "{}/no.mp4", "--output", "{}/o"], 66, "no.mp4"),
    (["quantize", "spark", "--frames", "{}/text.jpg", "--output", "{}/o"], 65, "text.jpg"),
    (["quantize", "nobody/nothing", "--frames", "test", "--output", "{}/o"], 78, "download"),
    (["text", "--model", "{}/model", "--output", "{}/o.png"], 78, "/model"),
    (["text", "--size", "7x7", "--output", "{}/o.png"], 64, "7"),
  ]

  /// Refused after it is known that the processor multiplies i8.
  private static let unwritable: [Wanted] = [
    (
      ["quantize", "spark", "--frames", RunTests.clip, "--output", "{}/none/o", "--pictures", "1"], 73,
      "mkdir"
    ),
    (
      ["quantize", "spark", "--frames", RunTests.clip, "--output", "{}", "--pictures", "1"], 73,
      "not there yet"
    ),
  ]

  @Test(arguments: cases.indices)
  func isRefusedWithItsNameAndItsExitCode(index: Int) throws {
    let wanted = Self.cases[index]
    let (result, left) = try run(wanted.words, ["text.jpg": Array("this is no picture".utf8)])
    #expect(result.code == wanted.code, "\(wanted.words): \(result.errors)")
    #expect(result.errors.contains(wanted.says), "\(wanted.words): \(result.errors)")
    #expect(left.isEmpty, "left behind: \(left)")
  }

  @Test func aPortInUseIsNamed() throws {
    let first = try Program.start(
      ["run", "--input", "test", "--model", "none", "--output", "http://127.0.0.1:0"])
    let port = try first.port()
    let second = try Program.run(
      "run", "--input", "test", "--model", "none", "--output", "http://127.0.0.1:\(port)")
    #expect(second.code == 69)
    #expect(second.errors.contains("\(port)"))
    first.send(SIGTERM)
    #expect(first.wait(seconds: 30).code == 0)
  }

  /// The embedded model with one file of its own.
  private func model(_ folder: TemporaryFolder, _ path: String, _ bytes: [UInt8]) throws -> Program.Result {
    let source = Program.checkout + "/Fixtures/models/spark"
    let copy = folder.file("model")
    #expect(try Running("/bin/cp", ["-r", source, copy]).wait().code == 0)
    defer { _ = try? Running("/bin/rm", ["-r", copy]).wait() }
    try writeFile("\(copy)/\(path)", bytes)
    return try Program.run("text", "--model", copy, "--output", folder.file("o.png"))
  }

  @Test func aTruncatedCheckpointIsNamed() throws {
    let path = "unet/diffusion_pytorch_model.safetensors"
    let whole = try readFile(Program.checkout + "/Fixtures/models/spark/" + path)
    let folder = try TemporaryFolder()
    let result = try model(folder, path, Array(whole.dropLast(1000)))
    #expect(result.code == 65, "\(result.errors)")
    #expect(result.errors.contains(path))
    #expect(folder.names.isEmpty)
  }

  @Test(arguments: [
    ("unet/config.json", "{", Int32(65)), ("unet/config.json", "{}", 78), ("model_index.json", "[]", 65),
    ("vae/config.json", #"{"_class_name":"AutoencoderMagic"}"#, 78),
    ("scheduler/scheduler_config.json", #"{"beta_schedule":"magic"}"#, 78),
    ("tokenizer/vocab.json", "no", 65),
  ])
  func aBrokenConfigurationIsNamed(path: String, text: String, code: Int32) throws {
    let folder = try TemporaryFolder()
    let result = try model(folder, path, Array(text.utf8))
    #expect(result.code == code, "\(result.errors)")
    #expect(result.errors.contains("/" + path), "\(result.errors)")
    #expect(folder.names.isEmpty)
  }

  /// The arena of so large a picture alone is more than the process may map.
  @Test func memoryThatIsNotThereIsTold() throws {
    let folder = try TemporaryFolder()
    let picture = Program.checkout + "/Fixtures/pictures/styles.jpg"
    let script = #"ulimit -v 3000000; exec "$0" image "$1" --device cpu --size 4096x4096 --output "$2""#
    let result = try Running("/bin/bash", ["-c", script, Program.path, picture, folder.file("o.png")]).wait()
    #expect(result.code == 71, "\(result.errors)")
    #expect(result.errors.contains("no memory"), "\(result.errors)")
    #expect(folder.names.isEmpty)
  }

  @Test(arguments: [
    ("/nowhere/a.safetensors", 78), (":0.5", 64), ("a.safetensors:99", 64), ("nan:nan", 64),
    (Program.checkout + "/Fixtures/parity/lora/sd-tiny.safetensors:0.5", 65),
  ])
  func aLoRAThatDoesNotFitIsNamed(lora: String, code: Int32) throws {
    let folder = try TemporaryFolder()
    let picture = Program.checkout + "/Fixtures/pictures/styles.jpg"
    let result = try Program.run("image", picture, "--lora", lora, "--output", folder.file("o.png"))
    #expect(result.code == code, "\(result.errors)")
    #expect(folder.names.isEmpty)
  }
}
