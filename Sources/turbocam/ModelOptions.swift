import CPUBackend
import CUDABackend
import Diffusion
import Engine
import Filter
import Frames

/// What every command that repaints takes.
struct ModelOptions {
  static let options = options(of: [Self.embedded])

  /// `models`: what `--model` takes besides folders, files and names.
  static func options(of models: [String]) -> [Option] {
    let places =
      """
      a folder in the diffusers layout, a single-file checkpoint (.safetensors), a name in the local \
      Hugging Face cache (stabilityai/sdxl-turbo)
      """
    return [Option("model", "DIR|FILE|NAME", ([places] + models).joined(separator: ", or "))] + others
  }

  static let embedded = "'\(defaultModel)' (the embedded one, default)"

  /// What `--prompt` may ask the embedded model for, under the options; empty where that is not there.
  static var stylesNote: String {
    guard let styles = ModelFolder.styles(ofEmbedded: defaultModel) else { return "" }
    return """
      Prompts that '\(defaultModel)' knows, two at once too (--prompt "oil painting and neon lights"):
      \(wrapped(styles.prompts.split(separator: " "), margin: "  ", columns: 96))
      """
  }

  /// Words in lines of at most so many columns.
  private static func wrapped(_ words: [Substring], margin: String, columns: Int) -> String {
    var lines: [String] = []
    for word in words {
      if let line = lines.last, line.count + word.count < columns {
        lines[lines.count - 1] = "\(line) \(word)"
      } else {
        lines.append(margin + word)
      }
    }
    return lines.joined(separator: "\n")
  }

  private static let others = [
    Option(
      "vae", "DIR|NAME",
      """
      another autoencoder in the place of the model's own, as madebyollin/taesdxl (SDXL) or \
      madebyollin/taesd (SD)
      """
    ),
    Option(
      "lora", "FILE[:SCALE]",
      """
      changes the model by a LoRA, a .safetensors file, by so much (default 1); may be given more than \
      once
      """
    ),
    Option("prompt", "TEXT", "what the picture should look like (default \"\(defaultPrompt)\")"),
    Option(
      "strength", "S",
      """
      above 0, at most 1: how much is repainted (default 0.5); 1 keeps nothing of the input, and \
      '\(defaultModel)' is made for 0.3 to 0.8
      """
    ),
    Option(
      "steps", "N",
      """
      evaluations of the UNet, 1 to 50 (default 1): what diffusers calls num_inference_steps, times the \
      strength, rounded down
      """
    ),
    Option("seed", "N", "0 to \(Settings.seedRange.upperBound) (default 0)"),
    Option(
      "size", "WxH",
      """
      size of the repainted picture, multiples of 8 (default: the model's own; run gives a virtual \
      camera's picture its shape)
      """
    ),
    Option(
      "device", "auto|cpu|cuda[:N,...]",
      """
      where to compute: auto takes an NVIDIA GPU where that works, else the CPU (default auto); 'turbocam \
      devices' numbers them; cuda:0,1 has two take frames in turns
      """
    ),
    Option(
      "threads", "N",
      "on the CPU: how many compute (default: one on each core that it may use)"
    ),
    Option(
      "sums", "f32|f16",
      """
      with CUDA: what tensor cores sum in; f16 (for short pieces) is up to twice as fast on GeForce cards \
      and a little less exact (default f32)
      """
    ),
    Option(
      "linears", "f16|f8",
      """
      with CUDA on an H100 or H200: f8 multiplies linear layers behind a layer norm in 8 bits (default \
      f16)
      """
    ),
  ]
  /// What `--model none` would do nothing with, of all commands.
  private static let needingModel = [
    "vae", "lora", "prompt", "strength", "steps", "seed", "steady", "still", "compare", "latency", "fit",
    "device", "threads", "sums", "linears",
  ]
  /// The embedded one.
  static let defaultModel = "spark"
  static let defaultPrompt = "ink drawing"

  let model: String
  /// Another autoencoder than the model's own.
  let autoencoder: String?
  let loras: [LoRA.Choice]
  let prompt: String?
  let strength: Double?
  let steps: Int?
  let seed: UInt64?
  let size: PictureSize?
  let device: Device
  /// On the processor; nil for what it has.
  let threads: Int?
  /// What a GPU's tensor cores multiply and sum in.
  let products: ProductFormat

  init(_ arguments: Arguments) throws(UsageError) {
    model = arguments.last("model") ?? Self.defaultModel
    autoencoder = arguments.last("vae")
    loras = try Self.loras(arguments)
    prompt = arguments.last("prompt")
    strength = try arguments.positive("strength", atMost: 1)
    steps = try arguments.integer("steps", in: Settings.stepsRange)
    let seeds = 0...Int(Settings.seedRange.upperBound)
    seed = try arguments.integer("seed", in: seeds).map(UInt64.init)
    size = try arguments.size("size")
    device = try Self.device(arguments)
    threads = try arguments.integer("threads", in: 1...1024)
    products = try Self.products(arguments, device)
    guard !model.isEmpty else { throw arguments.fail("--model needs a name or a folder") }
    for name in Self.needingModel where isNone && arguments.has(name) {
      throw arguments.fail("--\(name) is for a model")
    }
    guard (prompt?.utf8.count ?? 0) <= Settings.longestPrompt else {
      throw arguments.fail("--prompt is longer than \(Settings.longestPrompt) bytes")
    }
  }

  /// What follows the last colon is a scale if it is a number.
  private static func loras(_ arguments: Arguments) throws(UsageError) -> [LoRA.Choice] {
    var choices: [LoRA.Choice] = []
    for text in arguments.all("lora") {
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count > 1, let scale = Double(parts[parts.count - 1]) else {
        choices.append(LoRA.Choice(path: text))
        continue
      }
      guard loraScales.contains(scale) else {
        throw arguments.fail(
          "--lora takes scales from \(loraScales.lowerBound) to \(loraScales.upperBound), not \(parts[parts.count - 1])"
        )
      }
      choices.append(LoRA.Choice(path: parts.dropLast().joined(separator: ":"), scale: scale))
    }
    guard choices.allSatisfy({ !$0.path.isEmpty }) else { throw arguments.fail("--lora needs a file") }
    return choices
  }

  private static let loraScales = -10.0...10.0

  private static func device(_ arguments: Arguments) throws(UsageError) -> Device {
    guard let text = arguments.last("device") else { return .automatic }
    guard let device = Device(text) else {
      throw arguments.fail("--device must be auto, cpu, cuda, cuda:N or cuda:N,N, not '\(text)'")
    }
    return device
  }

  private static func products(_ arguments: Arguments, _ device: Device) throws(UsageError) -> ProductFormat {
    let text = arguments.last("sums") ?? "f32"
    guard let sums = ElementType(rawValue: text), [.f32, .f16].contains(sums) else {
      throw arguments.fail("--sums must be f32 or f16, not '\(text)'")
    }
    guard device != .cpu || sums == .f32 else {
      throw arguments.fail("--sums f16 is for a GPU, not --device cpu")
    }
    let word = arguments.last("linears") ?? "f16"
    guard let linears = ProductFormat.Linears(rawValue: word) else {
      throw arguments.fail("--linears must be f16 or f8, not '\(word)'")
    }
    guard device != .cpu || linears == .f16 else {
      throw arguments.fail("--linears f8 is for a GPU, not --device cpu")
    }
    return ProductFormat(sums: sums, linears: linears)
  }

  /// The options that name the model, for a process that is to have the same.
  var naming: [String] {
    ["--model", model] + (autoencoder.map { ["--vae", $0] } ?? [])
      + loras.flatMap { ["--lora", "\($0.path):\($0.scale)"] }
  }

  var isNone: Bool { model == "none" }

  /// What computes this model; a note about that goes to the terminal. Eight bits run on the processor, whatever else
  /// there is.
  func chooseDevice(for folder: ModelFolder) throws -> Device.Choice {
    let isLeftToUs = device == .automatic && folder.isInt8
    var choice = try (isLeftToUs ? .cpu : device).choose(products: products, threads: threads)
    if isLeftToUs { choice.reason = "\(folder.name) has weights of eight bits" }
    if let note = choice.note { Terminal.say("turbocam: \(note)") }
    if products != ProductFormat(), choice.backend is CPUBackend {
      Terminal.say("turbocam: --sums and --linears are for a GPU; the CPU computes without them")
    }
    if threads != nil, !(choice.backend is CPUBackend) {
      Terminal.say("turbocam: --threads is for the CPU; the GPU computes without it")
    }
    return choice
  }

  /// The model's folder, with everything in it checked; what is to be told of it goes to the terminal.
  func open() throws -> ModelFolder {
    let folder = try ModelFolder.find(model, autoencoder: autoencoder, loras: loras)
    for note in folder.notes { Terminal.say("turbocam: \(note)") }
    return folder
  }

  /// Settings for a model whose own size is `native` pixels.
  func settings(
    native: PictureSize, fit: Fit = .cover, mirror: Bool = false, strength: Double? = nil,
    steady: Double? = nil, still: Double? = nil, compare: Bool = false
  ) throws -> Settings {
    try Settings(
      prompt: prompt ?? Self.defaultPrompt, strength: strength ?? self.strength ?? 0.5, steps: steps ?? 1,
      seed: seed ?? 0, size: size ?? native, fit: fit, mirror: mirror,
      steady: steady ?? Settings.usualSteadiness, still: still ?? Settings.usualStillness, compare: compare)
  }
}
