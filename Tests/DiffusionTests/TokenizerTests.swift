import Diffusion
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

  @Test func longWordsTakeNoLongTime() throws {
    let model = try ModelFolder(path: Parity.root + "/sd-tiny")
    let encoding = model.textEncoders[0].tokenizer.encode(String(repeating: "é", count: 1_000_000))
    #expect(encoding.tokens.count == model.textEncoders[0].tokenizer.length)
  }
}
