import Glibc
import TestSupport
import Testing

@Suite struct UsageTests {
  static let subcommands = ["run", "image", "text", "devices", "doctor", "bench"]

  @Test func helpNamesEveryCommand() throws {
    let result = try Program.run("--help")
    #expect(result.code == 0)
    #expect(result.errors.isEmpty)
    for name in Self.subcommands { #expect(result.text.contains("\n  \(name) ")) }
  }

  @Test(arguments: subcommands)
  func everyCommandHasHelp(name: String) throws {
    for result in [try Program.run(name, "--help"), try Program.run("help", name)] {
      #expect(result.code == 0)
      #expect(result.text.hasPrefix("Usage: turbocam \(name)"))
      #expect(result.text.contains("--help"))
    }
  }

  /// "--fps F" of "  --fps F    frames a second".
  private func optionsOfHelp(_ command: String) throws -> Set<String> {
    let lines = try Program.run(command, "--help").text.split(separator: "\n").filter { $0.hasPrefix("  --") }
    return Set(lines.map { String($0.dropFirst(2).split(separator: "  ", maxSplits: 1)[0]) })
  }

  /// The same of the first column of the table under "### Options of `run`".
  private func optionsOfReadme() throws -> Set<String> {
    let readme = try readText(Program.checkout + "/README.md")
    let section = try #require(readme.ranges(of: "### Options of `run`\n").first).upperBound
    let rows = readme[section...].split(separator: "\n").drop { !$0.hasPrefix("|") }.prefix {
      $0.hasPrefix("|")
    }
    return Set(
      rows.dropFirst(2).flatMap { row in
        // Between the first bar and the next that is not escaped.
        let head = row.replacing("\\|", with: "\u{1}").split(separator: "|")[0].replacing("\u{1}", with: "|")
        return head.split(separator: "`").map(String.init).filter { $0.hasPrefix("--") }
      })
  }

  @Test func theReadmeHasTheOptionsOfRun() throws {
    let (said, told) = (try optionsOfReadme(), try optionsOfHelp("run").subtracting(["--help"]))
    #expect(said.contains("--input SRC"))
    #expect(said.symmetricDifference(told).isEmpty)
  }

  /// A line is as wide as a terminal, and what it says of an option begins in one column.
  @Test(arguments: ["run", "bench", "quantize"]) func helpIsInTwoColumns(name: String) throws {
    let text = try Program.run(name, "--help").text
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    let first = try #require(lines.firstIndex { $0.hasPrefix("  --") })
    let options = lines[first...].prefix { !$0.isEmpty }
    let column = try #require(options.first { !$0.hasPrefix("  --") }).prefix { $0 == " " }.count
    for line in options {
      #expect(line.count <= 100, "\(line)")
      #expect(line.dropFirst(column - 1).first == " " && line.dropFirst(column).first != " ", "\(line)")
    }
  }

  @Test func helpNamesTheVariableOfTheToken() throws {
    #expect(try Program.run("run", "--help").text.contains("TURBOCAM_TOKEN"))
  }

  /// Where a person looks for what a prompt may be.
  @Test(arguments: ["run", "image"]) func helpNamesTheStylesOfTheEmbeddedModel(name: String) throws {
    let lines = try Program.run(name, "--help").text.split(separator: "\n")
    let head = try #require(lines.firstIndex { $0.hasPrefix("Prompts that 'spark' knows") })
    let prompts = lines[(head + 1)...].joined(separator: " ")
    for prompt in ["oil painting, ", "pixel art, ", "thermal camera, ", ", photo"] {
      #expect(prompts.contains(prompt), "\(prompts)")
    }
    #expect(lines[head...].allSatisfy { $0.count <= 100 })
  }

  /// What was asked for and could not be told is a failure; a reader that went away is none.
  @Test(arguments: [["--version"], ["--help"], ["run", "--help"], ["devices"]])
  func aFullDiskIsTold(words: [String]) throws {
    let full = open("/dev/full", O_WRONLY)
    defer { close(full) }
    let result = try Running(Program.path, words, standardOutput: full).wait()
    #expect(result.code == 74)
    #expect(result.errors.contains("writing standard output"), "\(result.errors)")
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    close(ends[0])
    defer { close(ends[1]) }
    #expect(try Running(Program.path, words, standardOutput: ends[1]).wait().code == 0)
  }

  /// Also where a file has such a name: what Swift makes of it would be another's. printf of the shell makes the byte.
  @Test func anArgumentThatIsNoTextIsRefused() throws {
    for (words, place) in [(#"image "$name""#, 2), (#"run --input "$name""#, 3), (#"--model="$name""#, 1)] {
      let script = #"name=$(printf '\377.png'); exec "$0" \#(words) --output /tmp/never.png"#
      let result = try Running("/bin/bash", ["-c", script, Program.path]).wait()
      #expect(result.code == 64, "\(result.errors)")
      #expect(
        result.errors.contains("argument \(place), ")
          && result.errors.contains("\u{FFFD}.png', is not UTF-8; give the file a name that is"),
        "\(result.errors)")
    }
  }

  @Test(arguments: [["--version"], ["run", "--version"]]) func versionIsOneLine(words: [String]) throws {
    let result = try Program.start(words).wait()
    #expect(result.code == 0)
    #expect(result.text.wholeMatch(of: /turbocam \d+\.\d+\.\d+\n/) != nil)
  }

  /// Words, and what the message must say.
  static let mistakes: [([String], String)] =
    [
      (["rum"], "unknown command 'rum'; did you mean 'run'?"),
      (["xylophone"], "unknown command 'xylophone'\n"),
      (["help", "imgae"], "did you mean 'image'?"),
      (["--promt", "x"], "unknown option '--promt'; did you mean '--prompt'?"),
      (["run", "--outptu=-"], "did you mean '--output'?"),
      (["devices", "--prompt", "x"], "unknown option '--prompt'"),
      (["run", "-x"], "unknown option '-x'"),
      (["run", "--prompt"], "--prompt needs a value"),
      (["run", "--steady", "2"], "--steady must be a number from 0 to 0.95, not '2'"),
      (["run", "--steady", "nan"], "--steady must be a number from 0 to 0.95, not 'nan'"),
      (["run", "--mirror=yes"], "--mirror takes no value"),
      (["run", "clip.mp4"], "unexpected argument 'clip.mp4'; did you mean --input clip.mp4?"),
      (["README.md"], "unknown command 'README.md'; did you mean --input README.md?"),
      (["rtsp://camera/live"], "did you mean --input rtsp://camera/live?"),
      (["--quiet", "run"], "'run' is a command, which comes first: turbocam run"),
      (["-v"], "unknown option '-v'\n"),
      (["--verison"], "did you mean '--version'?"),
      (["run", "--", "--mirror"], "unexpected argument '--mirror'"),
      (["run", "--steps", "0"], "--steps must be a whole number from 1 to 50, not '0'"),
      (["run", "--steps=51"], "not '51'"),
      (["run", "--steps", "two"], "not 'two'"),
      (["run", "--steps", ""], "not ''"),
      (["run", "--strength", "0"], "--strength must be a number above 0 and at most 1, not '0'"),
      (["run", "--strength", "1.5"], "not '1.5'"),
      (["run", "--strength", "nan"], "not 'nan'"),
      (["run", "--strength", "0.001", "--steps", "50"], "do not fit in strength"),
      (["run", "--seed", "-1"], "--seed must be"),
      (["run", "--seed", "4294967296"], "--seed must be"),
      (["run", "--fps", "0"], "--fps must be"),
      (["run", "--frames", "0"], "--frames must be"),
      (["run", "--fit", "stretch"], "--fit must be cover or contain, not 'stretch'"),
      (["run", "--device", "cuda:0,0"], "not 'cuda:0,0'"),
      (["run", "--device", "cuda:0,"], "not 'cuda:0,'"),
      (["run", "--device", "tpu"], "--device must be auto, cpu, cuda, cuda:N or cuda:N,N, not 'tpu'"),
      (["bench", "--predict", "H300"], "--predict must be one of H200, "),
      (["bench", "--predict", "H200", "--device", "cpu"], "--predict calculates for --device cuda"),
      (["run", "--device", "cuda:"], "not 'cuda:'"),
      (["run", "--device", "cuda:-1"], "not 'cuda:-1'"),
      (["run", "--sums", "f8"], "--sums must be f32 or f16, not 'f8'"),
      (["run", "--sums", "f16", "--device", "cpu"], "--sums f16 is for a GPU"),
      (["run", "--linears", "f32"], "--linears must be f16 or f8, not 'f32'"),
      (["run", "--linears", "f8", "--device", "cpu"], "--linears f8 is for a GPU"),
      (["run", "--size", "513x512"], "the nearest is 512x512"),
      (["run", "--size", "512"], "must be WxH"),
      (["run", "--size", "8x8"], "must be from 64"),
      (["run", "--size", "9999999x64"], "must be from 64"),
      (["run", "--quality", "0"], "--quality must be a whole number from 1 to 100, not '0'"),
      (["run", "--quality", "101"], "not '101'"),
      (
        ["run", "--camera-size", "1281x720"],
        "--camera-size 1281x720: width and height must be multiples of 2"
      ),
      (["run", "--camera-size", "8x8"], "--camera-size 8x8: width and height must be from 16 to 8192"),
      (["run", "--camera-size", "large"], "--camera-size must be WxH"),
      (["run", "--json", "--output", "-"], "both want standard output"),
      (["run", "--model", ""], "--model needs"),
      (["run", "--token", ""], "--token is empty; take a long one: "),
      (["run", "--loop"], "--loop repeats a file"),
      (["run", "--loop", "--input", "test"], "--loop repeats a file"),
      (["run", "--camera-size", "640x480"], "--camera-size is for a virtual camera"),
      (["run", "--quality", "50", "--output", "a.png"], "--quality is of JPEGs"),
      (["run", "--token", "x", "--output", "a.png"], "--token is what a web server asks for"),
      (["run", "--threads", "0"], "--threads must be a whole number from 1"),
      (["bench", "--predict", "H200", "--suite", "live"], "--predict measures nothing, so --suite"),
      (["image", "a.png", "--output", "a.png"], "--output a.png would write over --input a.png"),
      (["image", "--output", "x.png"], "INPUT is missing"),
      (["image", "a.jpg"], "--output FILE is missing"),
      (
        ["image", "a.jpg", "--output", "b.gif"],
        "--output must be a file that ends in .png or .jpg, not 'b.gif'"
      ),
      (
        ["image", "a.jpg", "--output", ".png"],
        "--output must be a file that ends in .png or .jpg, not '.png'"
      ),
      (["image", "a.jpg", "b.jpg", "--output", "c.png"], "unexpected argument 'b.jpg'"),
      (["image", "a.jpg", "--output", "b.png", "--posterior", "mode"], "--posterior must be sample or mean"),
      (["text", "--output", "b.png", "--strength", "0.5"], "unknown option '--strength'"),
      (["text"], "--output FILE is missing"),
      (["text", "--output", "b.png"], "spark, the embedded model, repaints pictures"),
      (["bench", "--suite", "everything"], "--suite must be"),
    ] + needingModel.map { (["run", "--model", "none"] + $0, "\($0[0]) is for a model") }

  /// What would do nothing without a model.
  private static let needingModel = [
    ["--vae", "x"], ["--lora", "x"], ["--prompt", "x"], ["--strength", "0.5"], ["--steps", "2"],
    ["--seed", "1"], ["--steady", "0"], ["--still", "0"], ["--compare"], ["--latency"], ["--fit", "cover"],
    ["--device", "cpu"], ["--threads", "1"], ["--sums", "f32"], ["--linears", "f16"],
  ]

  @Test(arguments: mistakes.indices)
  func aMistakeIsNamedOnStandardError(index: Int) throws {
    let (words, message) = Self.mistakes[index]
    let running = try Program.start(words)
    let result = running.wait()
    #expect(result.code == 64, "\(words): \(result.errors)")
    #expect(result.output.isEmpty)
    #expect(result.errors.hasPrefix("turbocam: "))
    #expect(result.errors.contains(message), "\(words): \(result.errors)")
    #expect(result.errors.contains("Try 'turbocam") || result.errors.contains("do not fit"))
  }
}
