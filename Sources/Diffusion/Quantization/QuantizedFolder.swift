import Engine
import Glibc

/// A model folder with a UNet of eight bits, made of another.
public struct QuantizedFolder {
  /// How it was made, for `unet/config.json`.
  public struct Record {
    public var program, source: String
    public var pictures, width, height, steps: Int
    public var strength: Double
    public var prompts: [String]
    /// Of pictures against those of the model before: mean peak signal-to-noise ratio in dB, mean structural
    /// similarity.
    public var psnr, ssim: Double?

    public init(
      program: String, source: String, pictures: Int, width: Int, height: Int, steps: Int, strength: Double,
      prompts: [String]
    ) {
      (self.program, self.source, self.pictures, self.prompts) = (program, source, pictures, prompts)
      (self.width, self.height, self.steps, self.strength) = (width, height, steps, strength)
    }

    var json: JSON {
      .object([
        "quant_method": .string("turbocam_int8"), "made_by": .string(program), "made_from": .string(source),
        "pictures": .integer(pictures), "size": .array([.integer(width), .integer(height)]),
        "steps": .integer(steps), "strength": .number(strength),
        "prompts": .array(prompts.map(JSON.string)), "psnr": psnr.map(JSON.number) ?? .null,
        "ssim": ssim.map(JSON.number) ?? .null,
      ])
    }
  }

  private let model: ModelFolder
  public let path: String
  static let weightsName = "diffusion_pytorch_model.safetensors"
  private static let encoderName = "model.safetensors"

  /// Makes the folder, which must not be there.
  public init(_ model: ModelFolder, path: String) throws {
    self.model = model
    self.path = path
    try FileSystem.makeFolder(path)
  }

  /// Copies what stays as it is and writes the rounded UNet. `model_index.json` comes last: a folder without
  /// it, as an interruption leaves it, is no model.
  public func write(_ calibration: Calibration, _ record: Record, progress: (Double) -> Void) throws {
    guard let unet = model.weights["unet"] else { throw EngineError.missingWeight("unet") }
    try FileSystem.makeFolder(path + "/unet")
    try Quantizer(unet, calibration).write(
      to: "\(path)/unet/\(Self.weightsName)", metadata: ["format": .string("pt")], progress: progress)
    try write(record)
    for component in Set(try FileSystem.folders(in: model.configuration)).union(["vae"])
    where component != "unet" {
      try copy(component)
    }
    try writeScheduleMarks()
    for name in try FileSystem.files(in: model.configuration) where Self.isText(name) && name != Self.index {
      try FileSystem.copy("\(model.configuration)/\(name)", to: "\(path)/\(name)")
    }
    try FileSystem.write(JSON.object(try index()).bytes + [10], to: "\(path)/\(Self.index)")
  }

  /// The model's, with the class of the autoencoder that it has now.
  private func index() throws -> JSONObject {
    let config = try Config(path: "\(model.configuration)/\(Self.index)")
    let pair = JSON.array([.string("diffusers"), .string(model.autoencoder.className)])
    return config.object.setting([.init(name: "vae", value: pair)])
  }

  /// What a single file says of its schedule, in the folder's own words.
  private func writeScheduleMarks() throws {
    guard !model.scheduleMarks.isEmpty else { return }
    let name = "scheduler/scheduler_config.json"
    let config = try Config(path: "\(model.configuration)/\(name)")
    let marked = JSON.object(config.object.setting(model.scheduleMarks))
    try FileSystem.write(marked.bytes + [10], to: "\(path)/\(name)")
  }

  /// Says in `unet/config.json` how the folder was made.
  public func write(_ record: Record) throws {
    let config = try Config(path: model.configuration + "/unet/config.json")
    let marked = config.object.setting([.init(name: "quantization_config", value: record.json)])
    try FileSystem.write(JSON.object(marked).bytes + [10], to: path + "/unet/config.json")
  }

  private static let index = "model_index.json"

  /// A component: its texts, and the weights that were chosen among those that may lie there.
  private func copy(_ component: String) throws {
    let known = model.weights[component]
    guard known != nil || ["scheduler", "tokenizer", "tokenizer_2"].contains(component) else { return }
    let (from, to) = (model.path(of: component), "\(path)/\(component)")
    try FileSystem.makeFolder(to)
    if let known, known.isPart {
      try SafetensorsWriter.write(
        known, to: "\(to)/\(component == "vae" ? Self.weightsName : Self.encoderName)")
    }
    let weights = Set((known?.paths ?? []).compactMap { $0.split(separator: "/").last.map(String.init) })
    for name in try FileSystem.files(in: from) {
      guard weights.contains(name) || Self.isText(name) && !name.contains(".index.") else { continue }
      guard weights.contains(name) || name != GeneratedTensors.fileName else { continue }
      try FileSystem.copy("\(from)/\(name)", to: "\(to)/\(name)")
    }
  }

  private static func isText(_ name: String) -> Bool {
    [".json", ".txt", ".md"].contains { name.lowercased().hasSuffix($0) } || name.hasPrefix("LICENSE")
  }
}
