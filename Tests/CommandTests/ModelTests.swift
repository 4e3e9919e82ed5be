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
    #expect(try ask("GET /snapshot", port: port).status == 200)
    running.send(SIGINT)
    #expect(running.wait(seconds: 60).code == 0)
  }

  @Test func doctorAndDevicesTellWhatIsThere() throws {
    let doctor = try Program.run("doctor", "--json")
    #expect(doctor.code == 0, "\(doctor.text)")
    #expect(doctor.text.contains(#"{"name":"embedded model","found":true"#))
    let text = try Program.run("doctor").text
    for line in text.split(separator: "\n") where line.hasPrefix("no ") || line.hasPrefix("MISSING") {
      #expect(line.contains(": "))
    }
    let devices = try Program.run("devices", "--json")
    #expect(devices.code == 0)
    #expect(devices.text.hasPrefix(#"{"cameras":["#))
    #expect(devices.text.contains(#""gpus":["#))
  }
}
