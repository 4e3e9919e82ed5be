import Diffusion
import Glibc
import TestSupport
import Testing

/// Runs with the embedded model.
@Suite(.serialized) struct ModelTests {
  private static let sdTiny = Program.checkout + "/Fixtures/parity/sd-tiny"

  @Test func theSameSeedGivesTheSamePicture() throws {
    let folder = try TemporaryFolder()
    func paint(_ name: String, _ words: String...) throws -> [UInt8] {
      let result = try Program.start(["image", RunTests.clip, "--output", folder.file(name)] + words).wait(
        seconds: 120)
      #expect(result.code == 0, "\(result.errors)")
      return try readFile(folder.file(name))
    }
    let first = try paint("a.png", "--prompt", "oil painting", "--size", "128x96", "--seed", "3")
    #expect(first.starts(with: [0x89, 0x50, 0x4E, 0x47]))
    #expect(try Film(folder.file("a.png")).size == "128,96")
    #expect(try paint("b.png", "--prompt=oil painting", "--size=128x96", "--seed=3") == first)
    #expect(try paint("c.png", "--prompt", "neon lights", "--size", "128x96", "--seed", "3") != first)
  }

  @Test func textPaintsFromNoise() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "text", "--model", Self.sdTiny, "--prompt", "mosaic", "--size", "64x64", "--steps", "2", "--output",
      folder.file("a.jpg"), seconds: 120)
    #expect(result.code == 0, "\(result.errors)")
    #expect(try Film(folder.file("a.jpg")).size == "64,64")
  }

  @Test func anEndlessPromptIsCutWithAWarning() throws {
    let folder = try TemporaryFolder()
    let prompt = String(repeating: "oil painting of a house ", count: 40)
    let result = try Program.run(
      "text", "--model", Self.sdTiny, "--prompt", prompt, "--size", "64x64", "--output", folder.file("a.png"),
      seconds: 120)
    #expect(result.code == 0)
    #expect(result.errors.contains("too long"))
  }

  @Test func aFilmIsRepaintedFrameByFrame() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "run", "--input", RunTests.clip, "--size", "64x64", "--frames", "6", "--output", folder.file("a.mp4"),
      seconds: 120)
    #expect(result.code == 0, "\(result.errors)")
    let film = try Film(folder.file("a.mp4"))
    #expect(film.frames == 6)
    #expect(film.size == "64,64")
  }

  @Test func settingsChangeWhileItRuns() throws {
    let running = try Program.start(
      ["run", "--input", "test", "--size", "64x64", "--output", "http://127.0.0.1:0"])
    let port = try running.port()
    // There is something to see from the first moment: it says that the model is loading.
    let stream = try HTTPClient.asking("GET /stream", port)
    #expect(stream.answer(hasBody: false)?.status == 200)
    #expect(stream.part()?.headers["content-type"] == "image/jpeg")
    #expect(try running.state(port, until: "\"name\":\"live\"").contains("\"prompt\""))
    for bad in [#"{"steps":0}"#, #"{"prompt":"x","strength":2}"#, "{", #"{"size":"65x64"}"#, #"{"sede":1}"#] {
      let answer = try ask("PATCH /settings", port: port, body: bad)
      #expect(answer.status == 400, "\(bad): \(answer.text)")
    }
    #expect(!(try ask("GET /state", port: port).text.contains("\"prompt\":\"x\"")))
    let patch = #"{"prompt":"neon lights","seed":9,"size":"96x64"}"#
    let good = try ask("PATCH /settings", port: port, body: patch)
    #expect(good.status == 200)
    #expect(good.text.contains("\"prompt\":\"neon lights\""))
    #expect(good.text.contains("\"size\":\"96x64\""))
    // The old size is shown until the new one can be.
    let isShown = try eventually(seconds: 60) {
      let snapshot = try ask("GET /snapshot", port: port)
      return snapshot.status == 200 && sizeOfJPEG(snapshot.body) == "96x64"
    }
    #expect(isShown)
    running.send(SIGINT)
    #expect(running.wait(seconds: 60).code == 0)
  }

  // MARK: Styles

  /// What the page makes buttons of, and what pressing one sends.
  @Test func theStateListsTheStylesOfTheModel() throws {
    let running = try Program.start(
      [
        "run", "--input", "test", "--size", "64x64", "--device", "cpu", "--prompt", "mosaics", "--output",
        "http://127.0.0.1:0",
      ])
    let port = try running.port()
    let notice = #"the model does not know \"mosaics\"; it knows: oil painting, van gogh painting"#
    #expect(try running.state(port, until: notice).contains(notice))
    let state = try JSON.parse(try ask("GET /state", port: port).body).object
    let styles = try #require(state?["styles"]?.array).compactMap(\.object)
    #expect(styles.count == 16)
    #expect(styles.first?["name"]?.string == "oil")
    for style in styles {
      let prompt = try #require(style["prompt"])
      let patch = JSON.object(["prompt": prompt]).text
      let answer = try ask("PATCH /settings", port: port, body: patch)
      #expect(answer.status == 200 && answer.text.contains("\"prompt\":\(prompt.text)"), "\(answer.text)")
    }
    // What is no longer so is not said any more.
    #expect(try running.state(port, until: #""message":null"#).contains(#""message":null"#))
    running.send(SIGINT)
    let result = running.wait(seconds: 60)
    #expect(result.code == 0)
    #expect(result.errors.split(separator: "does not know", omittingEmptySubsequences: false).count == 2)
  }

  @Test(arguments: ["none", sdTiny]) func aModelWithoutAListHasNone(model: String) throws {
    let running = try Program.start(
      ["run", "--input", "test", "--model", model, "--size", "64x64", "--output", "http://127.0.0.1:0"])
    #expect(try ask("GET /state", port: try running.port()).text.contains(#""styles":[],"#))
    running.send(SIGINT)
    #expect(running.wait(seconds: 60).code == 0)
  }

  @Test func unknownWordsAreTold() throws {
    let folder = try TemporaryFolder()
    for (prompt, notice) in [
      ("mosaic", nil), ("mosaics", #"turbocam: the model does not know "mosaics"; it knows: oil painting, "#),
      ("a cat", "turbocam: the prompt names no style that the model knows; it knows: oil painting, "),
    ] {
      let result = try Program.run(
        "image", RunTests.clip, "--prompt", prompt, "--size", "64x64", "--output", folder.file("a.png"),
        seconds: 120)
      #expect(result.code == 0, "\(result.errors)")
      #expect(result.errors.contains(notice ?? "it knows") == (notice != nil), "\(result.errors)")
    }
  }

  /// The picture does not depend on the list.
  @Test func aDamagedListIsToldAndThePicturePainted() throws {
    let folder = try TemporaryFolder()
    for name in ["model_index.json", "unet", "vae", "scheduler", "text_encoder", "tokenizer"] {
      symlink("\(Self.sdTiny)/\(name)", folder.file(name))
    }
    try folder.write("styles.json", #"{"styles": 3}"#)
    let result = try Program.run(
      "text", "--model", folder.path, "--prompt", "mosaics", "--size", "64x64", "--output",
      folder.file("a.png"),
      seconds: 120)
    #expect(result.code == 0, "\(result.errors)")
    #expect(
      result.errors.contains("turbocam: \(folder.file("styles.json")): styles should be a list of 1 to 64"))
    #expect(result.errors.contains("its styles are not listed"), "\(result.errors)")
    #expect(try Film(folder.file("a.png")).size == "64,64")
  }

  /// "WIDTHxHEIGHT" as the first frame header says, nil where there is none.
  private func sizeOfJPEG(_ bytes: [UInt8]) -> String? {
    func number(at index: Int) -> Int { Int(bytes[index]) << 8 | Int(bytes[index + 1]) }
    var segment = 2
    while segment + 8 < bytes.count, bytes[segment] == 0xFF {
      if (0xC0...0xC2).contains(bytes[segment + 1]) {
        return "\(number(at: segment + 7))x\(number(at: segment + 5))"
      }
      segment += 2 + number(at: segment + 2)
    }
    return nil
  }

  @Test func doctorAndDevicesTellWhatIsThere() throws {
    let doctor = try Program.run("doctor", "--json")
    #expect(doctor.code == 0, "\(doctor.text)")
    #expect(doctor.text.contains(#"{"name":"embedded model","found":true"#))
    let report = try JSON.parse(doctor.output)
    let checks = try #require(report.object?["checks"]?.array).compactMap(\.object)
    let text = try Program.run("doctor").text
    // What a machine may lack, each with what to do then, also in the text for people.
    for name in ["camera", "virtual camera", "SDXL-Turbo"] {
      let check = try #require(checks.first { $0["name"]?.string == name }, "\(name)")
      let isFound = try #require(check["found"]?.bool)
      #expect(text.contains("\(isFound ? "ok    " : "absent")  \(name): "))
      guard !isFound else { continue }
      let remedy = try #require(check["remedy"]?.string, "\(name)")
      #expect(!remedy.isEmpty)
      for line in remedy.split(separator: "\n") { #expect(text.contains("\n          \(line)"), "\(name)") }
    }
    let devices = try Program.run("devices", "--json")
    #expect(devices.code == 0)
    #expect(devices.text.hasPrefix(#"{"cameras":["#))
    #expect(devices.text.contains(#""gpus":["#))
  }
}
