import CPUBackend
import Diffusion
import Engine
import TestSupport
import Testing

/// Single options of configurations, each with a tiny model that `Fixtures/make/variants.py` wrote.
///
/// In single precision: these are too small for rounding to average out.
struct VariantTests {
  static let singlePrecision = [Runner.reference, .cpu]

  @Test(arguments: singlePrecision)
  func unetsAreThoseOfDiffusers(runner: Runner) throws {
    try compare("unet", count: 7, runner) { scope, config, input in
      let unet = UNet2DConditionModel(scope, try UNetConfig(config))
      let (sample, timestep, context) = (try input("sample"), try input("timestep"), try input("context"))
      let isAdded = config.object["addition_embed_type"]?.string != nil
      let added =
        isAdded
        ? UNet2DConditionModel.Added(textEmbeds: try input("text_embeds"), timeIDs: try input("time_ids"))
        : nil
      return ["conv_out.out": unet(sample, timestep: timestep, context: context, added: added)]
    }
  }

  @Test(arguments: singlePrecision)
  func encodersAreThoseOfDiffusers(runner: Runner) throws {
    try compare("vae.encode", count: 4, runner) { scope, config, input in
      let vae = Autoencoder(scope, try AutoencoderConfig(config))
      return ["latent.out": vae.latent(vae.encode(try input("image")), noise: nil)]
    }
  }

  @Test(arguments: singlePrecision)
  func decodersAreThoseOfDiffusers(runner: Runner) throws {
    try compare("vae.decode", count: 4, runner) { scope, config, input in
      let vae = Autoencoder(scope, try AutoencoderConfig(config))
      return ["image.out": vae.decode(try input("latent"))]
    }
  }

  @Test(arguments: singlePrecision)
  func textEncodersAreThoseOfTransformers(runner: Runner) throws {
    try compare("text_encoder", count: 2, runner) { scope, config, input in
      let clip = CLIPTextModel(scope, try CLIPTextConfig(config, withProjection: false))
      return ["state.out": clip.lastState(try input("ids"))]
    }
  }

  /// Runs every case of a module and compares. `write` writes the model's graph from its inputs by role.
  private func compare(
    _ module: String, count: Int, _ runner: Runner,
    _ write: (Scope, Config, (String) throws -> Value) throws -> [String: Value]
  ) throws {
    let parity = try Parity("variants")
    let cases = parity.cases(module)
    #expect(cases.count == count)
    for entry in cases {
      let folder = parity.folder + "/" + entry.name
      let name = module == "text_encoder" ? "model" : "diffusion_pytorch_model"
      let checkpoint = try Checkpoint(folder: folder, name: name)
      let graph = Graph()
      let scope = Scope(graph: graph, component: "it", checkpoint: checkpoint, element: runner.element)
      var inputs: [String: [Float]] = [:]
      let results = try write(scope, Config(path: folder + "/config.json")) { role in
        let tensor = try #require(entry.input(role))
        inputs[role] = try parity.picture(tensor)
        return graph.input(role, shape(try parity.shape(tensor)), role == "ids" ? .i32 : .f32, .frame)
      }
      try scope.check()
      for (role, value) in results { graph.output(role, value) }
      let found = try run(graph, ModelWeights(["it": checkpoint]), inputs, runner)
      for (role, tensor) in entry.outputs {
        let error = relativeError(try #require(found[role]), try parity.picture(tensor))
        #expect(error <= 1e-4, "\(entry.name) \(role)")
      }
    }
  }

  /// Without the batch, channels last.
  private func shape(_ shape: [Int]) -> [Int] {
    switch shape.count {
    case 4: return [shape[2], shape[3], shape[1]]
    case 1: return shape
    default: return Array(shape.dropFirst())
    }
  }

  // MARK: The refiner

  /// As diffusers' pipeline from text refuses it, too: its time ids have a score in the place of a size.
  @Test func refinerPaintsNothingFromText() throws {
    let model = try ModelFolder(path: Parity.root + "/refiner-tiny")
    let options = Pipeline.Options(width: 64, height: 64, task: .textToImage)
    let error = try #require(throws: DiffusionError.self) {
      try Pipeline(model: model, options: options, backend: CPUBackend(precision: .f32, threads: 1))
    }
    #expect(error.fact.contains("refiner"))
  }

  /// One text encoder, an aesthetics score, statistics of latents, zero terminal SNR, and shards of fp16.
  @Test func refinerPaintsAsDiffusers() throws {
    let parity = try Parity("refiner-tiny")
    let model = try ModelFolder(path: parity.folder)
    let pictures = parity.cases("picture")
    #expect(pictures.count == 2)
    for picture in pictures {
      let strength = try #require(picture.json["strength"]?.double)
      let pipeline = try Pipeline(
        model: model,
        options: Pipeline.Options(
          width: picture.int("width"), height: picture.int("height"), steps: picture.int("evaluations")),
        backend: try CPUBackend(precision: .f32, threads: 1))
      _ = try pipeline.apply(
        PipelineSettings(
          prompt: picture.json["prompt"]?.string ?? "", strength: strength, seed: picture.int("seed")))
      let pixels = try parity.floats(try #require(picture.input("input"))).map { UInt8($0) }
      try pipeline.withImage { $0.copyBytes(from: pixels) }
      try pipeline.run()
      let found = try pipeline.withPicture { Array($0) }.map { Float($0) }
      let expected = try parity.floats(try #require(picture.output("image")))
      #expect(found.count == expected.count)
      let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 255
      #expect(worst <= 2, "\(picture.name): \(worst) of 255")
    }
  }

  // MARK: What a pipeline heeds

  /// Of the pipelines of diffusers only SDXL's heed the statistics of latents.
  @Test(arguments: ["sd-tiny": false, "sdxl-tiny": true])
  func statisticsOfLatentsAreForXL(name: String, areHeeded: Bool) throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/" + name)
    let plain = try GraphTaker.graph(of: folder.path).nodes.count
    try folder.set("vae/config.json", "latents_mean", "[0.1, 0.2, 0.3, 0.4]")
    #expect(try GraphTaker.graph(of: folder.path).nodes.count == plain)
    try folder.set("vae/config.json", "latents_std", "[1.1, 1.2, 1.3, 1.4]")
    #expect(try (GraphTaker.graph(of: folder.path).nodes.count > plain) == areHeeded)
  }

  /// Values of keys that are accepted and change nothing.
  @Test(arguments: [
    ("sdxl-tiny", "scheduler/scheduler_config.json", "use_karras_sigmas", "true"),
    ("sdxl-tiny", "scheduler/scheduler_config.json", "final_sigmas_type", "\"sigma_min\""),
    ("sdxl-tiny", "scheduler/scheduler_config.json", "steps_offset", "7"),
    ("odd-tiny", "scheduler/scheduler_config.json", "timestep_type", "\"continuous\""),
    ("odd-tiny", "scheduler/scheduler_config.json", "timestep_type", "null"),
    ("sd-tiny", "scheduler/scheduler_config.json", "steps_offset", "null"),
    ("odd-tiny", "scheduler/scheduler_config.json", "sigma_max", "3"),
    ("odd-tiny", "scheduler/scheduler_config.json", "unheard_of", "{}"),
    ("sdxl-tiny", "unet/config.json", "unheard_of", "[1]"),
    ("sdxl-tiny", "unet/config.json", "upcast_attention", "true"),
    ("sdxl-tiny", "unet/config.json", "act_fn", "\"SiLU\""),
    ("sdxl-tiny", "unet/config.json", "resnet_skip_time_act", "true"),
    ("sdxl-tiny", "unet/config.json", "resnet_out_scale_factor", "1.4"),
    ("sdxl-tiny", "unet/config.json", "mid_block_only_cross_attention", "true"),
    ("sdxl-tiny", "unet/config.json", "cross_attention_norm", "\"group_norm\""),
    ("sdxl-tiny", "unet/config.json", "num_attention_heads", "null"),
    ("sdxl-tiny", "unet/config.json", "addition_embed_type_num_heads", "8"),
    ("sd-tiny", "unet/config.json", "projection_class_embeddings_input_dim", "5"),
    ("sdxl-tiny", "vae/config.json", "shift_factor", "0.2"),
    ("../models/spark", "vae/config.json", "force_upcast", "true"),
    ("sd-tiny", "vae/config.json", "latent_magnitude", "9"),
    ("sd-tiny", "text_encoder/config.json", "projection_dim", "99"),
    ("sd-tiny", "text_encoder/config.json", "use_attention_mask", "false"),
    ("sdxl-tiny", "model_index.json", "force_zeros_for_empty_prompt", "false"),
    ("sd-tiny", "model_index.json", "requires_aesthetics_score", "true"),
  ])
  func unheededKeysChangeNothing(name: String, file: String, key: String, value: String) throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/" + name)
    let plain = try GraphTaker.graph(of: folder.path).nodes
    let schedule = Schedule(try ModelFolder(path: folder.path).scheduler, steps: 3, strength: 0.7)
    try folder.set(file, key, value)
    #expect(try GraphTaker.graph(of: folder.path).nodes == plain)
    #expect(Schedule(try ModelFolder(path: folder.path).scheduler, steps: 3, strength: 0.7) == schedule)
  }

  /// Of this flag, which is true where it is left out.
  @Test func nullIsAsFalse() throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/sd-tiny")
    var graphs: [[Node]] = []
    for value in ["true", nil, "false", "null"] {
      try folder.set("unet/config.json", "flip_sin_to_cos", value)
      graphs.append(try GraphTaker.graph(of: folder.path).nodes)
    }
    #expect(graphs[0] == graphs[1] && graphs[2] == graphs[3] && graphs[0] != graphs[2])
  }

  /// SDXL's autoencoder overflows f16: it is in what the backend has for that, everything else in the usual type.
  @Test(arguments: [ElementType.bf16, .f32])
  func aWideAutoencoderIsInTheWideElement(wide: ElementType) throws {
    let graph = try GraphTaker.graph(of: Parity.root + "/sdxl-tiny", element: .f16, wide: wide)
    var elements: [String: Set<ElementType>] = [:]
    for node in graph.nodes {
      guard case .weight(let name) = node.op, node.type.shape.count > 1 else { continue }
      elements[String(name.prefix { $0 != "/" }), default: []].insert(node.type.element)
    }
    #expect(elements["vae"] == [wide])
    for component in ["unet", "text_encoder", "text_encoder_2"] { #expect(elements[component] == [.f16]) }
  }

  /// Which token's state is the pooled one depends on `eos_token_id`, and the padding on the tokenizer alone.
  @Test func anotherPaddingTokenPads() throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/sdxl-tiny")
    try folder.set("tokenizer/tokenizer_config.json", "pad_token", "\"!\"")
    try folder.set("tokenizer/tokenizer_config.json", "model_max_length", "12")
    let first = try CLIPTokenizer(folder: folder.path + "/tokenizer", positions: 77)
    let bang = try CLIPTokenizer(folder: folder.path + "/tokenizer_2", positions: 77).padToken
    #expect(first.padToken == bang && bang != first.endToken)
    let tokens = first.encode("a").tokens
    #expect(tokens.count == 12)
    #expect(tokens.suffix(9) == Array(repeating: bang, count: 9)[...])
    // vocab.json and merges.txt count where all three files are there.
    try folder.write("tokenizer/tokenizer.json", "{}")
    #expect(try CLIPTokenizer(folder: folder.path + "/tokenizer", positions: 77).encode("a").tokens == tokens)
  }
}

/// Takes a model's graph and runs nothing.
final class GraphTaker: Backend {
  struct Taken: Error {}
  let description = "none"
  let preferredElement: ElementType
  let wideElement: ElementType
  private var graph: Graph?

  init(_ element: ElementType, wide: ElementType) { (preferredElement, wideElement) = (element, wide) }

  func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  {
    self.graph = graph
    throw Taken()
  }

  /// The graph of a picture, a small one where no size is given.
  static func graph(
    of folder: String, element: ElementType = .bf16, wide: ElementType = .f32, size: Int? = nil
  ) throws -> Graph {
    let model = try ModelFolder(path: folder)
    let size = size ?? 2 * model.autoencoder.encoderFactor
    let taker = GraphTaker(element, wide: wide)
    #expect(throws: Taken.self) {
      try Pipeline(
        model: model, options: Pipeline.Options(width: size, height: size, steps: 2), backend: taker)
    }
    return try #require(taker.graph)
  }
}
