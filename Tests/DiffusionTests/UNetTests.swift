import Diffusion
import Engine
import TestSupport
import Testing

/// Every block of each UNet against diffusers, in one run from sample to prediction.
struct UNetTests {
  @Test(arguments: Parity.pipelines, Runner.allCases)
  func blocksAreThoseOfDiffusers(name: String, runner: Runner) throws {
    let parity = try Parity(name)
    let model = try ModelFolder(path: parity.folder)
    for whole in parity.cases("unet") {
      let found = try blocks(model, parity, whole, runner)
      let roles = roles(parity, whole)
      #expect(roles.count > 10)
      for (role, tensor, rounding) in roles {
        let error = relativeError(try #require(found[role], "\(role)"), try parity.picture(tensor))
        #expect(error <= runner.limit(pyTorch: rounding), "\(name) \(whole.name) \(role)")
      }
    }
  }

  /// Outputs of the whole and of the modules alone, which have its name and more, with PyTorch's error where
  /// the whole runs in bfloat16.
  private func roles(_ parity: Parity, _ whole: Case) -> [(role: String, tensor: String, rounding: Double)] {
    parity.cases.filter { ($0.name + ".").hasPrefix(whole.name + ".") }.flatMap { entry in
      entry.outputs.map {
        ($0.role, $0.tensor, entry.json["bf16_chain_error"]?.object?[$0.role]?.double ?? 0)
      }
    }
  }

  private func blocks(
    _ model: ModelFolder, _ parity: Parity, _ whole: Case, _ runner: Runner
  ) throws -> [String: [Float]] {
    let graph = Graph()
    var inputs: [String: [Float]] = [:]
    func input(_ role: String) throws -> Value? {
      guard let tensor = whole.input(role) else { return nil }
      var shape = try parity.shape(tensor)
      if shape.count == 4 { shape = [shape[2], shape[3], shape[1]] }
      if shape.count == 3, role == "context" { shape.removeFirst() }
      if role == "time_ids" { shape.removeFirst() }
      inputs[role] = try parity.picture(tensor)
      return graph.input(role, shape, .f32, .frame)
    }
    let unet = UNet2DConditionModel(try model.scope("unet", graph, runner.element), model.unet)
    var added: UNet2DConditionModel.Added?
    if let embeds = try input("text_embeds"), let sizes = try input("time_ids") {
      added = UNet2DConditionModel.Added(textEmbeds: embeds, timeIDs: sizes)
    }
    _ = unet(
      try #require(try input("sample")), timestep: try #require(try input("timestep")),
      context: try #require(try input("context")), added: added,
      tap: { graph.output($0.contains(".res.") ? $0 : $0 + ".out", $1) })
    return try run(graph, model.weights, inputs, runner)
  }
}
