import Diffusion
import Filter
import Testing

@Suite struct SettingsTests {
  /// By themselves pictures stay as they are, so that a test sees which frame one was made of.
  static func settings(
    width: Int = 64, height: Int = 64, steps: Int = 1, steady: Double = 0, still: Double = 0
  )
    throws -> Settings
  {
    try Settings(
      prompt: "ink", strength: 0.5, steps: steps, seed: 7, size: PictureSize(width: width, height: height),
      fit: .cover, mirror: false, steady: steady, still: still)
  }

  @Test func aPatchChangesWhatItNamesAndNothingElse() throws {
    let box = SettingsBox(try Self.settings())
    let changed = try box.patch(
      Array(
        #"{"prompt":"oil \u00e9","steps":2,"mirror":true,"size":"128x96","steady":0.5,"still":3,"compare":true}"#
          .utf8))
    #expect(changed.prompt == "oil é")
    #expect(changed.steps == 2)
    #expect(changed.mirror)
    #expect(changed.steady == 0.5 && changed.still == 3 && changed.compare)
    #expect(changed.size == PictureSize(width: 128, height: 96))
    #expect(changed.strength == 0.5)
    #expect(changed.seed == 7)
    #expect(box.current.settings == changed)
    #expect(box.current.generation == 1)
  }

  @Test(arguments: [
    (256, 16, "336x192"), (512, 32, "672x384"), (512, 64, "704x384"), (64, 16, "80x64"),
    (4096, 64, "4096x3072"), (256, 4, "344x192"), (256, 0, "344x192"), (256, Int.min, "344x192"),
  ])
  func aSizeTakesAnotherShape(side: Int, unit: Int, expected: String) {
    let size = PictureSize(width: side, height: side)
    #expect(size.inShape(of: PictureSize(width: 1280, height: 720), unit: unit).description == expected)
    #expect(size.inShape(of: size, unit: unit) == size)
  }

  @Test func aPatchThatChangesNothingIsNoNewGeneration() throws {
    let box = SettingsBox(try Self.settings())
    try box.patch(Array(#"{"prompt":"ink"}"#.utf8))
    #expect(box.current.generation == 0)
  }

  @Test(
    arguments: [
      #"{"prompt":"oil","strength":0}"#, #"{"strength":1.01}"#, #"{"strength":"much"}"#,
      #"{"strength":1e999}"#,
      #"{"steps":0}"#, #"{"steps":51}"#, #"{"steps":1.5}"#, #"{"strength":0.01,"steps":20}"#,
      #"{"seed":-1}"#, #"{"seed":4294967296}"#, #"{"size":"100x64"}"#, #"{"size":"64"}"#, #"{"size":"0x0"}"#,
      #"{"size":"99999x64"}"#, #"{"size":"+64x64"}"#, #"{"fit":"stretch"}"#, #"{"mirror":1}"#,
      #"{"steady":-0.1}"#, #"{"steady":0.96}"#, #"{"steady":true}"#, #"{"still":-1}"#, #"{"still":17}"#,
      #"{"compare":1}"#,
      #"{"promt":"x"}"#, #"[]"#, #"{"#, "",
      #"{"prompt":7}"#,
    ])
  func aBadValueChangesNothing(json: String) throws {
    let settings = try Self.settings()
    let box = SettingsBox(settings)
    #expect(throws: (any Error).self) { try box.patch(Array(json.utf8)) }
    #expect(box.current.settings == settings)
    #expect(box.current.generation == 0)
  }

  @Test func aPromptMayNotBeEndless() throws {
    let box = SettingsBox(try Self.settings())
    let long = String(repeating: "a", count: Settings.longestPrompt + 1)
    #expect(throws: SettingsError.self) { try box.patch(Array(#"{"prompt":"\#(long)"}"#.utf8)) }
  }

  @Test func whatGoesOutComesBackIn() throws {
    let settings = try Self.settings(width: 264, height: 200)
    #expect(try SettingsTests.settings(steps: 3).patched(by: settings.json) == settings)
  }

  @Test func revertLeavesWhatSomebodyElseChanged() throws {
    let first = try Self.settings()
    let box = SettingsBox(first)
    let second = try box.patch(Array(#"{"steps":2}"#.utf8))
    box.revert(to: first, since: 0)
    #expect(box.current.settings == second)
    box.revert(to: first, since: 1)
    #expect(box.current.settings == first)
    #expect(box.current.generation == 2)
  }

  @Test func jsonTextIsParsedBackToTheSameValue() throws {
    let value = JSON.object([
      "text": .string("a\"b\\c\n\u{1}é😀"), "numbers": .array([.integer(-3), .number(0.25), .number(1e300)]),
      "nothing": .null, "yes": .bool(true), "empty": .object([:]),
    ])
    #expect(try JSON.parse(value.bytes) == value)
    #expect(JSON.number(.infinity).text == "null")
  }
}
