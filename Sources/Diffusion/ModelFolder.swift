import Engine

/// A pipeline in the layout of diffusers' `save_pretrained`: model_index.json and a folder a component; or the weights of
/// one in a single file, with the configurations of such a folder.
///
/// Opening one reads every configuration, tokenizer and safetensors header, and checks that each tensor the
/// model needs is there with the right shape and type. What cannot be run is refused here, by file and key.
public final class ModelFolder: @unchecked Sendable {
  public struct TextEncoder {
    /// `text_encoder` or `text_encoder_2`.
    public let component: String
    public let config: CLIPTextConfig
    public let tokenizer: CLIPTokenizer
  }

  /// The folder, or the single file.
  public let path: String
  /// Where configurations and tokenizers lie: `path`, unless that is a file.
  let configuration: String
  /// Last part of the path, or the name under which the model was found; and the names of LoRAs.
  public let name: String
  /// StableDiffusionXL: two text encoders (the refiner one), conditioning on sizes.
  public let isXL: Bool
  public let scheduler: SchedulerConfig
  public let unet: UNetConfig
  public let autoencoder: AutoencoderConfig
  public let textEncoders: [TextEncoder]
  public let weights: ModelWeights
  /// Styles to choose from, where the folder lists them.
  public let styles: Styles?
  /// What people should know of the folder, whose pictures are none the worse for it.
  public let notes: [String]
  private let loras: [LoRA]
  /// SDXL's refiner is told a score in place of the target size.
  let wantsAestheticsScore: Bool
  private let index: ModelIndex
  /// What a single file says in the place of the scheduler's configuration.
  let scheduleMarks: [JSONObject.Member]

  /// Pixels that the model was made for, of a square for most.
  public var nativeWidth: Int { nativeLatents.width * autoencoder.encoderFactor }
  public var nativeHeight: Int { nativeLatents.height * autoencoder.encoderFactor }

  private var nativeLatents: (height: Int, width: Int) {
    let usual = isXL ? 128 : 64
    guard let size = unet.sampleSize else { return (usual, usual) }
    // As pipelines of Stable Diffusion do, for there are files of its first models that say 32.
    return unet.hasDoubtfulSize && !isXL && size.width < usual ? (usual, usual) : size
  }

  /// Pixels of which sides are multiples where every level of the UNet halves the one above it evenly.
  public var sizeUnit: Int { autoencoder.encoderFactor << (unet.channels.count - 1) }

  /// `autoencoder`: the folder of another one than the model's own. `loras` change its weights.
  public convenience init(path: String, autoencoder: String? = nil, loras: [LoRA.Choice] = []) throws {
    try self.init(path: path, name: nil, autoencoder: autoencoder, loras: loras)
  }

  /// The weights of a safetensors file that has those of all components; all else from the folder `configuration`.
  public convenience init(
    file: String, configuration: String, autoencoder: String? = nil, loras: [LoRA.Choice] = []
  ) throws {
    try self.init(SingleFile(path: file), configuration, autoencoder, loras)
  }

  convenience init(
    _ file: SingleFile, _ configuration: String, _ autoencoder: String?, _ loras: [LoRA.Choice]
  ) throws {
    try self.init(
      path: file.path, name: FileSystem.title(file.path), configuration: configuration,
      autoencoder: autoencoder,
      loras: loras, file: file)
  }

  convenience init(path: String, name: String?, autoencoder: String?, loras: [LoRA.Choice]) throws {
    guard FileSystem.isFolder(path) else { throw DiffusionError(.noInput, path: path, "is not a folder") }
    try self.init(
      path: path, name: name ?? path.split(separator: "/").last.map(String.init) ?? path, configuration: path,
      autoencoder: autoencoder, loras: loras, file: nil)
  }

  private init(
    path: String, name: String, configuration: String, autoencoder: String?, loras: [LoRA.Choice],
    file: SingleFile?
  ) throws {
    self.path = path
    self.configuration = configuration
    self.name = ([name] + loras.map(\.name)).joined(separator: " + ")
    index = try ModelIndex(folder: configuration, autoencoder: autoencoder)
    isXL = index.isXL
    wantsAestheticsScore = index.wantsAestheticsScore
    scheduleMarks = try file?.scheduleMarks() ?? []
    scheduler = try index.scheduler(scheduleMarks)
    unet = try UNetConfig(try index.config("unet"))
    self.autoencoder = try index.autoencoder()
    textEncoders = try index.textEncoders()
    (styles, notes) = Self.styles(in: configuration)
    var checkpoints = try index.checkpoints()
    if let file {
      let own = checkpoints.filter { $0.key != "vae" || autoencoder == nil }
      checkpoints.merge(try file.checkpoints(like: own)) { _, new in new }
    }
    self.loras = try loras.enumerated().map { [checkpoints] number, choice in
      try LoRA(choice, component: "lora_\(number + 1)", model: checkpoints)
    }
    weights = ModelWeights(self.loras.reduce(into: checkpoints) { $0[$1.component] = $1.checkpoint })
    try ModelCheck(self).run()
  }

  /// No picture depends on the list, so one that is damaged is told and does without.
  private static func styles(in folder: String) -> (Styles?, [String]) {
    do { return (try Styles(folder: folder), []) } catch {
      return (nil, ["\(error)\nThe model runs, and its styles are not listed."])
    }
  }

  /// What a person should know of a prompt's words; nothing where a LoRA may have taught the model others.
  func notice(of prompt: String) -> String? { loras.isEmpty ? styles?.notice(of: prompt) : nil }

  /// The folder that a component's configuration lies in.
  func path(of component: String) -> String { index.path(of: component) }

  /// A place to take a component's weights from.
  public func scope(_ component: String, _ graph: Graph, _ element: ElementType) throws -> Scope {
    guard let checkpoint = weights[component] else {
      throw DiffusionError(.noInput, path: path, "has no weights for \(component)")
    }
    return Scope(
      graph: graph, component: component, checkpoint: checkpoint, element: element, loras: loras)
  }

  /// Whether products of the UNet are of i8 (`Quantizer`).
  public var isInt8: Bool {
    weights["unet"]?.names.contains { $0.hasSuffix("." + Int8Weights.scaleName) } ?? false
  }

  /// Width of the text that the UNet attends to.
  public var contextWidth: Int { textEncoders.reduce(0) { $0 + $1.config.hiddenSize } }

  /// Width of the pooled text that SDXL's UNet takes beside it; nil for others.
  public var pooledWidth: Int? { isXL ? textEncoders.last?.config.projection : nil }

  /// Whether the autoencoder leaves the range of f16: only the SDXL pipelines of diffusers heed the key.
  public var hasWideAutoencoder: Bool { isXL && autoencoder.forceUpcast }
}
