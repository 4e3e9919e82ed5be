import Diffusion
import Engine
import TestSupport
import Testing

/// Both autoencoders against diffusers, each way alone.
struct AutoencoderTests {
  static let folders = Parity.pipelines + ["kl-odd"]

  @Test(arguments: folders, Runner.allCases)
  func encodesAsDiffusers(name: String, runner: Runner) throws {
    let parity = try Parity(name)
    for entry in parity.cases("vae.encode") {
      try compare(parity, entry, runner) { vae, graph, input in
        let encoded = vae.encode(try input("image")!)
        let noise = try input("noise")
        if noise != nil { graph.output("moments.out", encoded) }
        graph.output("latent.out", vae.latent(encoded, noise: noise))
      }
    }
  }

  @Test(arguments: folders, Runner.allCases)
  func decodesAsDiffusers(name: String, runner: Runner) throws {
    let parity = try Parity(name)
    for entry in parity.cases("vae.decode") {
      try compare(parity, entry, runner) { vae, graph, input in
        graph.output("image.out", vae.decode(try input("latent")!))
      }
    }
  }

  private func compare(
    _ parity: Parity, _ entry: Case, _ runner: Runner,
    _ write: (Autoencoder, Graph, (String) throws -> Value?) throws -> Void
  ) throws {
    let folder = parity.folder + "/vae"
    let checkpoint = try Checkpoint(folder: folder, name: "diffusion_pytorch_model")
    let graph = Graph()
    let scope = Scope(graph: graph, component: "vae", checkpoint: checkpoint, element: runner.element)
    let vae = Autoencoder(scope, try AutoencoderConfig(Config(path: folder + "/config.json")))
    try scope.check()
    var inputs: [String: [Float]] = [:]
    try write(vae, graph) { role in
      guard let tensor = entry.input(role) else { return nil }
      let shape = try parity.shape(tensor)
      inputs[role] = try parity.picture(tensor)
      return graph.input(role, [shape[2], shape[3], shape[1]], .f32, .frame)
    }
    let found = try run(graph, ModelWeights(["vae": checkpoint]), inputs, runner)
    for (role, tensor) in entry.outputs {
      let error = relativeError(try #require(found[role], "\(role)"), try parity.picture(tensor))
      let rounding = try #require(entry.json["bf16_error"]?.object?[role]?.double)
      #expect(error <= runner.limit(pyTorch: rounding), "\(entry.name) \(role)")
    }
  }
}
