import Diffusion
import Engine
import TestSupport
import Testing

/// Both text encoders against transformers, layer by layer.
struct TextEncoderTests {
  @Test(arguments: Parity.pipelines, Runner.allCases)
  func statesAreThoseOfTransformers(name: String, runner: Runner) throws {
    let parity = try Parity(name)
    let model = try ModelFolder(path: parity.folder)
    for encoder in model.textEncoders {
      let entry = try #require(parity.cases(encoder.component).first)
      let ids = try parity.integers(try #require(entry.input("ids")))
      let length = encoder.tokenizer.length
      var found: [String: [Float]] = [:]
      for row in 0..<ids.count / length {
        let tokens = Array(ids[row * length..<(row + 1) * length])
        found.merge(try states(model, encoder, tokens, runner)) { $0 + $1 }
      }
      for (role, tensor) in entry.outputs {
        let error = relativeError(try #require(found[role], "\(role)"), try parity.floats(tensor))
        let rounding = try #require(entry.json["bf16_error"]?.object?[role]?.double)
        #expect(error <= runner.limit(pyTorch: rounding), "\(name) \(encoder.component) \(role)")
      }
    }
  }

  private func states(
    _ model: ModelFolder, _ encoder: ModelFolder.TextEncoder, _ tokens: [Int32], _ runner: Runner
  ) throws -> [String: [Float]] {
    let graph = Graph()
    let scope = try model.scope(encoder.component, graph, runner.element)
    let clip = CLIPTextModel(scope, encoder.config)
    let input = graph.input("tokens", [tokens.count], .i32, .settings)
    let position = graph.input("position", [1], .i32, .settings)
    for count in 0...encoder.config.layers {
      graph.output("hidden_states.\(count).out", clip.hiddenState(input, afterLayers: count))
    }
    graph.output("last_hidden_state.out", clip.lastState(input))
    graph.output("pooled.out", graph.gather(clip.lastState(input), position))
    graph.output("text_embeds.out", clip.pooled(input, position: position))
    graph.output("context.out", model.isXL ? clip.penultimateState(input) : clip.lastState(input))
    let pooled = encoder.config.pooledPosition(tokens)
    return try run(
      graph, model.weights, ["tokens": tokens.map(Float.init), "position": [Float(pooled)]], runner)
  }

  @Test func endTokenOfTwoMeansTheHighest() throws {
    func config(_ end: Int) throws -> CLIPTextConfig {
      try CLIPTextConfig(
        Config(path: "config.json", bytes: Array("{\"eos_token_id\": \(end)}".utf8)), withProjection: false)
    }
    let tokens: [Int32] = [7, 2, 5, 9, 5, 9, 1]
    #expect(try config(2).pooledPosition(tokens) == 3)
    #expect(try config(5).pooledPosition(tokens) == 2)
    #expect(try config(8).pooledPosition(tokens) == 0)
  }
}
