import Diffusion
import Engine
import TestSupport
import Testing

/// `styles.json`: what a model of few words knows, and what is told of words that it does not.
struct StylesTests {
  private static let spark = Parity.root + "/../models/spark"

  @Test func sparkListsItsStyles() throws {
    let model = try ModelFolder.find("spark")
    let styles = try #require(model.styles)
    #expect(styles.all.count == 16 && model.notes.isEmpty)
    #expect(styles.all.first == Styles.Style(name: "oil", prompt: "oil painting"))
    #expect(styles.all.last == Styles.Style(name: "photo", prompt: "photo"))
    #expect(styles.prompts.hasPrefix("oil painting, van gogh painting, watercolour, "))
    #expect(ModelFolder.styles(ofEmbedded: "spark")?.all == styles.all)
    #expect(ModelFolder.styles(ofEmbedded: "../models/spark") == nil)
    let other = try ModelFolder(path: Parity.root + "/sdxl-tiny")
    #expect(other.styles == nil && other.notes.isEmpty)
  }

  // MARK: Prompts

  /// Also in other letters, with figures, by a word that stands in a subject too, with signs.
  @Test(arguments: [
    "", "  ", "!?", "oil painting", "OIL  Painting!", "8 bit", "8-bit game", "sumi-e", "old", "slightly neon",
    "a woman with a hat, van gogh", "half ink half neon lights", "photo", "turn me into anime",
    "oil painting and neon lights", "vintage photo, 1987", "it's a Mosaic",
  ])
  func nothingIsToldOfWhatItKnows(prompt: String) throws {
    let styles = try #require(try Styles(folder: Self.spark))
    #expect(styles.notice(of: prompt) == nil)
  }

  @Test func everyPromptOfTheListIsKnown() throws {
    let styles = try #require(try Styles(folder: Self.spark))
    for style in styles.all {
      for prompt in [style.name, style.prompt] { #expect(styles.notice(of: prompt) == nil, "\(prompt)") }
    }
  }

  @Test(arguments: [
    ("mosaics", #"the model does not know "mosaics"; it knows: oil painting, van gogh"#),
    ("oil painting of a Dragon, a robot and a dragon", #"does not know "dragon", "robot"; it knows"#),
    ("漢字 \u{1B}[2J", #"does not know "漢字", "j"; it knows"#),
    ("foo bar baz qux quux corge", #"know "foo", "bar", "baz", "qux", "quux"; it"#),
    ("a cat", "names no style that the model knows; it knows: oil painting, van gogh"),
    ("a cup of coffee, best quality", "names no style"), ("7", "names no style"), ("light", "names no style"),
  ])
  func whatItDoesNotKnowIsTold(prompt: String, notice: String) throws {
    let styles = try #require(try Styles(folder: Self.spark))
    let found = try #require(styles.notice(of: prompt))
    #expect(found.contains(notice), "\(found)")
    #expect(found.unicodeScalars.allSatisfy { $0.value >= 0x20 })
    #expect(styles.notice(of: String(repeating: "x", count: 4096)).map { $0.utf8.count < 400 } == true)
  }

  /// A list of some styles of a model that knows more says nothing about words.
  @Test func withoutWordsNothingIsSure() throws {
    let folder = try TemporaryFolder()
    try folder.write("styles.json", #"{"styles": [{"name": "lino", "prompt": "linocut"}]}"#)
    let open = try #require(try Styles(folder: folder.path))
    #expect(open.all == [Styles.Style(name: "lino", prompt: "linocut")])
    #expect(open.notice(of: "a cat") == nil)
    try folder.write("styles.json", #"{"styles": [{"name": "lino", "prompt": "linocut"}], "words": []}"#)
    #expect(try Styles(folder: folder.path)?.notice(of: "a cat")?.contains(#""a", "cat""#) == true)
  }

  /// What a pipeline gives as a warning; with a LoRA, which may have taught the model other words, nothing.
  @Test func aPipelineWarns() throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/sdxl-tiny")
    try folder.write("styles.json", #"{"styles": [{"name": "oil", "prompt": "oil paint"}], "words": ["a"]}"#)
    let lora = LoRA.Choice(path: Parity.root + "/lora/sdxl-tiny.safetensors")
    for (loras, count) in [([], 1), ([lora], 0)] {
      let model = try ModelFolder(path: folder.path, loras: loras)
      let pipeline = try Pipeline(
        model: model, options: Pipeline.Options(width: 16, height: 16), backend: ReferenceBackend())
      #expect(try pipeline.apply(PipelineSettings(prompt: "a paint")) == [])
      let warnings = try pipeline.apply(PipelineSettings(prompt: "a goat"))
      #expect(warnings.count == count)
      #expect(warnings.allSatisfy { $0 == #"the model does not know "goat"; it knows: oil paint"# })
      // It stays so where something else changes.
      #expect(try pipeline.apply(PipelineSettings(prompt: "a goat", strength: 0.4)) == warnings)
      #expect(model.styles?.all.count == 1)
    }
  }

  // MARK: Damage

  /// A file, and what is said of it.
  static let damaged: [(String, String)] = [
    ("", "is not JSON"), ("[]", "does not hold a JSON object"), ("{}", "styles should be a list"),
    (#"{"styles": []}"#, "a list of 1 to 64"), (#"{"styles": ["oil"]}"#, "a list of 1 to 64"),
    (#"{"styles": [{"name": "oil"}]}"#, "prompt"), (#"{"styles": [{"name": 1, "prompt": "x"}]}"#, "name"),
    (#"{"styles": [{"name": "", "prompt": "x"}]}"#, "name"),
    (#"{"styles": [{"name": "x", "prompt": "a\nb"}]}"#, "prompt"),
    (#"{"styles": [{"name": "x", "prompt": "\u001b[2J"}]}"#, "prompt"),
    (#"{"styles": [{"name": "x\u202ey", "prompt": "y"}]}"#, "name"),
    (#"{"styles": [{"name": "x", "prompt": "y", "phrases": "z"}]}"#, "phrases"),
    (#"{"styles": [{"name": "x", "prompt": "y", "phrases": [[]]}]}"#, "phrases"),
    (#"{"styles": [{"name": "x", "prompt": "y"}], "words": {"a": 1}}"#, "words"),
    (#"{"styles": [{"name": "x", "prompt": "y"}], "words": [""]}"#, "words"),
    (#"{"styles": [{"name": "x", "prompt": "\#(String(repeating: "y", count: 101))"}]}"#, "prompt"),
    (
      #"{"styles": [\#(Array(repeating: #"{"name":"x","prompt":"y"}"#, count: 65).joined(separator: ","))]}"#,
      "styles"
    ),
    (#"{"styles": [{"name": "x", "prompt": "y"}]}"# + String(repeating: " ", count: 256 << 10), "more than"),
  ]

  /// No picture depends on the file, so the model opens, and somebody is told.
  @Test(arguments: damaged.indices)
  func aDamagedFileIsTold(index: Int) throws {
    let (text, fact) = Self.damaged[index]
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/sd-tiny")
    try folder.write("styles.json", text)
    let model = try ModelFolder(path: folder.path)
    #expect(model.styles == nil && model.notes.count == 1)
    let note = try #require(model.notes.first)
    #expect(note.hasPrefix(folder.path + "/styles.json: ") && note.contains(fact), "\(note)")
    #expect(note.hasSuffix("\nThe model runs, and its styles are not listed."), "\(note)")
    // A string that was refused is not repeated.
    #expect(!note.unicodeScalars.contains { $0 == "\u{1B}" || $0 == "\u{202E}" }, "\(note)")
  }
}
