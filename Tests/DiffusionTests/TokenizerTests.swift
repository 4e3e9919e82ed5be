import Diffusion
import TestSupport
import Testing

/// Tokens as transformers' CLIPTokenizer gives them.
struct TokenizerTests {
  @Test(arguments: Parity.pipelines)
  func tokensAreThoseOfTransformers(name: String) throws {
    let parity = try Parity(name)
    let model = try ModelFolder(path: parity.folder)
    for encoder in model.textEncoders {
      let tokenizer = encoder.component == "text_encoder" ? "tokenizer" : "tokenizer_2"
      let entry = try #require(parity.cases(tokenizer).first)
      let expected = try parity.integers(try #require(entry.output("ids")))
      let length = encoder.tokenizer.length
      #expect(expected.count == parity.prompts.count * length)
      for (index, prompt) in parity.prompts.enumerated() {
        let row = Array(expected[index * length..<(index + 1) * length])
        #expect(
          encoder.tokenizer.encode(prompt).tokens == row, "\(name) \(tokenizer): \(prompt.debugDescription)")
      }
    }
  }

  @Test func overLongPromptTellsWhatWasDropped() throws {
    let model = try ModelFolder(path: Parity.root + "/sd-tiny")
    let tokenizer = model.textEncoders[0].tokenizer
    let fits = Array(repeating: "a", count: tokenizer.length - 2)
    #expect(tokenizer.encode(fits.joined(separator: " ")).dropped == nil)
    let encoding = tokenizer.encode((fits + ["lighthouse", "by", "the", "sea"]).joined(separator: " "))
    #expect(encoding.dropped == "lighthouse by the sea")
    #expect(encoding.tokens.count == tokenizer.length)
    #expect(encoding.tokens.last == tokenizer.endToken)
  }

  /// Prompts are cut after 4096 bytes, whatever a character takes.
  @Test func longWordsTakeNoLongTime() throws {
    let tokenizer = try ModelFolder(path: Parity.root + "/sd-tiny").textEncoders[0].tokenizer
    for (character, count) in [("é", 2048), ("😀", 1024)] {
      let encoding = tokenizer.encode(String(repeating: character, count: 1_000_000))
      #expect(encoding.tokens.count == tokenizer.length)
      #expect(encoding == tokenizer.encode(String(repeating: character, count: count)))
    }
  }

  // MARK: Added tokens

  private struct Added {
    let name: String
    var isNormalized = true
    var isSingleWord = false
  }

  /// CLIP's own tokenizer with these, numbered from 49408.
  private func tokenizer(_ added: [Added]) throws -> CLIPTokenizer {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/../sizes/sdxl-turbo/tokenizer")
    let entries = added.enumerated().map { index, token in
      #""\#(49408 + index)": {"content": "\#(token.name)", "normalized": \#(token.isNormalized), "#
        + #""single_word": \#(token.isSingleWord)}"#
    }
    try folder.set("tokenizer_config.json", "added_tokens_decoder", "{\(entries.joined(separator: ","))}")
    return try CLIPTokenizer(folder: folder.path, positions: 77)
  }

  /// Numbers as transformers 5 gives them.
  @Test func addedTokensAreNormalizedAsTheTextIs() throws {
    let tokenizer = try tokenizer([
      Added(name: "<MyStyle>"), Added(name: "E\u{301}t\u{C9}"), Added(name: "<Raw>", isNormalized: false),
    ])
    #expect(tokenizer.tokens(of: "a <MyStyle> cat") == [320, 49408, 2368])
    #expect(tokenizer.tokens(of: "a <mystyle> cat") == [320, 49408, 2368])
    #expect(tokenizer.tokens(of: "\u{E9}t\u{E9}") == [49409])
    #expect(tokenizer.tokens(of: "a<Raw>").last == 49410)
    #expect(!tokenizer.tokens(of: "a<raw>").contains(49410))
  }

  /// Where tokenizer_config.json lists no tokens, what the files beside it say counts first. As transformers 5 reads
  /// them.
  @Test func olderFoldersPadAsTheirMapSays() throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/../sizes/sdxl-turbo/tokenizer")
    try folder.set("tokenizer_config.json", "pad_token", "\"<|endoftext|>\"")
    try folder.replace("special_tokens_map.json", Array(#"{"pad_token": "!"}"#.utf8))
    try folder.write("added_tokens.json", #"{"<MyStyle>": 49408}"#)
    let listed = try CLIPTokenizer(folder: folder.path, positions: 77)
    #expect(listed.padToken == 49407)
    #expect(!listed.tokens(of: "<MyStyle>").contains(49408))
    try folder.set("tokenizer_config.json", "added_tokens_decoder", nil)
    let older = try CLIPTokenizer(folder: folder.path, positions: 77)
    #expect(older.padToken == 0)
    #expect(older.tokens(of: "a <mystyle> cat!") == [320, 49408, 2368, 0])
  }

  @Test func wordsAreFoundByThemselvesAlone() throws {
    let tokenizer = try tokenizer([
      Added(name: "Hut", isSingleWord: true), Added(name: "hutong", isSingleWord: true),
      Added(name: "<<R>", isNormalized: false, isSingleWord: true),
    ])
    let known: [(String, [Int32])] = [
      ("a hut", [320, 49408]), ("huts", [845, 590]), ("shut", [8282]), ("hut!", [49408, 256]),
      ("(hut)", [263, 49408, 264]), ("_hut", [318, 16503]), ("hut9", [16503, 280]),
      ("\u{301}hut", [136, 479, 16503]), ("hut\u{200D}", [16503, 728, 491]),
      ("hut\u{2019}s", [49408, 728, 503, 338]), ("\u{E9}hut", [3459, 16503]),
      ("hutong hutongs hut", [49409, 845, 838, 1345, 49408]), ("HUT hut", [49408, 49408]),
      ("a<<R>b", [320, 16482, 337, 285, 321]), ("a <<R> b <<r>", [320, 49410, 321, 16482, 337, 285]),
    ]
    for (text, tokens) in known { #expect(tokenizer.tokens(of: text) == tokens, "\(text.debugDescription)") }
  }
}
