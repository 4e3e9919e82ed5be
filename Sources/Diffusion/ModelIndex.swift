/// `model_index.json`: the pipeline's class and what each component is.
struct ModelIndex {
  private static let classes = [
    "StableDiffusionPipeline": false, "StableDiffusionImg2ImgPipeline": false,
    "StableDiffusionXLPipeline": true, "StableDiffusionXLImg2ImgPipeline": true,
  ]
  private static let known: [String: [String]] = [
    "unet": ["UNet2DConditionModel"],
    "vae": AutoencoderConfig.classes,
    "scheduler": SchedulerConfig.Kind.allCases.map(\.rawValue),
    "text_encoder": ["CLIPTextModel"],
    "text_encoder_2": ["CLIPTextModel", "CLIPTextModelWithProjection"],
    "tokenizer": ["CLIPTokenizer", "CLIPTokenizerFast"],
    "tokenizer_2": ["CLIPTokenizer", "CLIPTokenizerFast"],
  ]

  private let folder: String
  private let otherAutoencoder: String?
  private let config: Config
  let isXL: Bool
  let wantsAestheticsScore: Bool

  /// `autoencoder`: the folder of another one than the model's own.
  init(folder: String, autoencoder: String? = nil) throws {
    self.folder = folder
    otherAutoencoder = autoencoder
    config = try Config(path: folder + "/model_index.json")
    let name = try config.string("_class_name")
    guard let isXL = Self.classes[name] else {
      throw config.unsupported("_class_name", .string(name), known: Self.classes.keys.sorted())
    }
    self.isXL = isXL
    wantsAestheticsScore = isXL ? try config.bool("requires_aesthetics_score", false) : false
    for component in ["unet", "vae", "scheduler"] + textComponents.flatMap({ [$0.encoder, $0.tokenizer] }) {
      try checkClass(component)
    }
  }

  func config(_ component: String, file: String = "config.json") throws -> Config {
    try Config(path: "\(path(of: component))/\(file)")
  }

  /// The folder that a component lies in.
  func path(of component: String) -> String {
    component == "vae" ? otherAutoencoder ?? "\(folder)/vae" : "\(folder)/\(component)"
  }

  /// An entry is a pair, the library and the class; a component that is left out has a pair of nulls.
  private func className(_ component: String) throws -> String? {
    guard let value = config.value(component) else { return nil }
    guard let pair = value.array, pair.count == 2 else {
      throw config.wrongType(component, "a library and a class", value)
    }
    if pair[1].isNull { return nil }
    guard let name = pair[1].string else {
      throw config.wrongType(component, "a library and a class", pair[1])
    }
    return name
  }

  private func checkClass(_ component: String) throws {
    guard let name = try className(component) else {
      throw DiffusionError(
        .configuration, path: config.path, "lacks the component \(component)",
        remedy: "Choose a whole pipeline in the diffusers layout.")
    }
    let known = Self.known[component] ?? []
    guard known.contains(name) else {
      let names = known.joined(separator: " and ")
      let remedy = "Known are \(names). Most models run with either: write its name there."
      throw config.unsupported(
        component, .string(name), known: known, remedy: component == "scheduler" ? remedy : nil)
    }
  }

  // MARK: Components

  /// SDXL has two, its refiner the second alone.
  private var textComponents: [(encoder: String, tokenizer: String)] {
    let first = (encoder: "text_encoder", tokenizer: "tokenizer")
    let second = (encoder: "text_encoder_2", tokenizer: "tokenizer_2")
    guard isXL else { return [first] }
    return (try? className("text_encoder")) == nil ? [second] : [first, second]
  }

  /// Of the class that is named here, as diffusers has it, whatever its own file was saved from; with `marks` in the
  /// place of what that says.
  func scheduler(_ marks: [JSONObject.Member]) throws -> SchedulerConfig {
    let config = try config("scheduler", file: "scheduler_config.json")
    // Pipelines of Stable Diffusion put 1 in the place of any other offset.
    return try SchedulerConfig(
      Config(path: config.path, object: config.object.setting(marks)), className: try className("scheduler"),
      stepsOffset: isXL ? nil : 1)
  }

  /// Of the class that its own file names: weights fit one only, and an autoencoder is often put in another's place.
  func autoencoder() throws -> AutoencoderConfig { try AutoencoderConfig(try config("vae")) }

  func textEncoders() throws -> [ModelFolder.TextEncoder] {
    try textComponents.map { component in
      let hasProjection = try className(component.encoder) == "CLIPTextModelWithProjection"
      let config = try CLIPTextConfig(try config(component.encoder), withProjection: hasProjection)
      let tokenizer = try CLIPTokenizer(
        folder: "\(folder)/\(component.tokenizer)", positions: config.positions)
      return ModelFolder.TextEncoder(
        component: component.encoder, config: config, tokenizer: tokenizer)
    }
  }

  func checkpoints() throws -> [String: Checkpoint] {
    var checkpoints: [String: Checkpoint] = [:]
    for component in ["unet", "vae"] {
      checkpoints[component] = try Checkpoint(
        folder: path(of: component), name: "diffusion_pytorch_model")
    }
    for component in textComponents {
      checkpoints[component.encoder] = try Checkpoint(folder: "\(folder)/\(component.encoder)", name: "model")
    }
    return checkpoints
  }
}
