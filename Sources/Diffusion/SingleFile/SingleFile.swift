import Engine
/// A whole model in one safetensors file, such as `sd_xl_turbo_1.0_fp16.safetensors`: the weights of all
/// components under the names of the code that trained them, and nothing else. Configurations and tokenizers
/// come from a folder of such a model (`Fixtures/sizes`).
struct SingleFile {
  enum Kind: CaseIterable {
    case sdxl, sd2

    /// The folder with the configurations that a file of this kind is read with.
    var configuration: String {
      switch self {
      case .sdxl: return "sdxl-turbo"
      case .sd2: return "sd-turbo"
      }
    }

    fileprivate var title: String {
      switch self {
      case .sdxl: return "SDXL"
      case .sd2: return "Stable Diffusion 2"
      }
    }

    /// The text encoders by component, which tell one kind from another: each under one of these.
    fileprivate var encoders: [String: [Encoder]] {
      switch self {
      case .sdxl:
        return [
          "text_encoder": [Encoder("conditioner.embedders.0.transformer.text_model.", isOpenCLIP: false)],
          "text_encoder_2": [Encoder("conditioner.embedders.1.model.")],
        ]
      case .sd2:
        // SD-Turbo was trained with SDXL's code, the others with the code before it.
        return ["text_encoder": [Encoder("cond_stage_model.model."), Encoder(lonely)]]
      }
    }
  }

  /// What a text encoder's names begin with.
  fileprivate struct Encoder {
    let start: String
    let isOpenCLIP: Bool

    init(_ start: String, isOpenCLIP: Bool = true) { (self.start, self.isOpenCLIP) = (start, isOpenCLIP) }
  }

  /// A tensor in the file.
  struct Place {
    enum Part: Equatable { case whole, third(Int), transposed }
    var name: String
    var part = Part.whole
  }

  let path: String
  let kind: Kind
  private let file: SafetensorsFile
  private let encoders: [String: Encoder]
  private static let unet = "model.diffusion_model."
  private static let autoencoder = "first_stage_model."
  /// Of an OpenCLIP text encoder that has none before it: SD-Turbo's, and that of SDXL's refiner.
  private static let lonely = "conditioner.embedders.0.model."
  /// Of UNets that take more than a time and a prompt.
  private static let addition = unet + "label_emb."

  /// Opens the file and tells from its names what it is. Errors: those of `SafetensorsFile`, and
  /// `.unavailable` for models that are none of `Kind`.
  init(path: String) throws {
    self.path = path
    file = try SafetensorsFile(path: path)
    let names = file.tensors.map(\.name)
    guard names.contains(where: { $0.hasPrefix(Self.unet) }), let found = Self.kind(of: names) else {
      throw Self.refusal(path, names)
    }
    (kind, encoders) = found
    if let mark = Self.otherNoise.first(where: names.contains) {
      throw DiffusionError(
        .unavailable, path: path,
        "was trained with the noise levels of EDM (it has \"\(mark)\"), which turbocam does not have",
        remedy: "Take a checkpoint of SDXL itself, or of a model derived from it that keeps its noise levels."
      )
    }
  }

  /// The kind of a file with these names, and where its text encoders are.
  private static func kind(of names: [String]) -> (Kind, [String: Encoder])? {
    func has(_ start: String) -> Bool { names.contains { $0.hasPrefix(start) } }
    for kind in Kind.allCases {
      let found = kind.encoders.compactMapValues { places in places.first { has($0.start) } }
      // The refiner, and unCLIP made of Stable Diffusion 2, have a UNet of another kind.
      if found.count == kind.encoders.count, kind == .sdxl || !has(addition) { return (kind, found) }
    }
    return nil
  }

  /// Of Playground 2.5 and CosXL, which are SDXL by all other names.
  private static let otherNoise = ["edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min"]

  /// What the file says of its schedule, as `scheduler_config.json` has it: models derived from SDXL that
  /// predict velocity have a tensor of that name, and another where noise levels end in noise alone.
  func scheduleMarks() throws -> [JSONObject.Member] {
    guard try predictsVelocity() else { return [] }
    let prediction = SchedulerConfig.Prediction.velocity.rawValue
    return [.init(name: "prediction_type", value: .string(prediction))]
      + (file["ztsnr"] == nil ? [] : [.init(name: "rescale_betas_zero_snr", value: .bool(true))])
  }

  private func predictsVelocity() throws -> Bool {
    switch kind {
    case .sdxl: return file["v_pred"] != nil
    case .sd2: return try spread(of: Self.telling).map { $0 > Self.leastOfVelocity } ?? false
    }
  }

  /// Files of Stable Diffusion 2 say nothing of what they predict. ComfyUI found (comfy/supported_models.py,
  /// SD20) that this bias, the last of the way up, spreads wider in those that predict velocity.
  private static let telling = unet + "output_blocks.11.1.transformer_blocks.0.norm1.bias"
  private static let leastOfVelocity: Float = 0.09

  /// The standard deviation of a tensor's numbers; nil where the file has no such tensor.
  private func spread(of name: String) throws -> Float? {
    guard let record = file[name], let type = record.type, !type.shape.contains(0) else { return nil }
    let numbers = try file.withBytes(of: record) { ElementCodec.decode($0, type.element) }
    let mean = numbers.reduce(0, +) / Float(numbers.count)
    let squares = numbers.map { ($0 - mean) * ($0 - mean) }
    return (squares.reduce(0, +) / Float(numbers.count)).squareRoot()
  }

  private static func refusal(_ path: String, _ names: [String]) -> DiffusionError {
    func has(_ start: String) -> Bool { names.contains { $0.hasPrefix(start) } }
    func refuse(_ fact: String, _ remedy: String) -> DiffusionError {
      DiffusionError(.unavailable, path: path, fact, remedy: remedy)
    }
    let wanted = "Take a checkpoint of SDXL or Stable Diffusion 2, such as sd_xl_turbo_1.0_fp16.safetensors"
    if names.contains(where: { LoRAName($0) != nil }) {
      return refuse("is a LoRA, not a model", "Give it beside a model: --lora \(path)")
    }
    if has("cond_stage_model.transformer.") {
      return refuse(
        "is a checkpoint of Stable Diffusion 1, which is read from folders only",
        "Convert it: diffusers' from_single_file reads it, save_pretrained writes a folder.")
    }
    if has(lonely) {
      return refuse("is a checkpoint of SDXL's refiner", "\(wanted), or the refiner's folder.")
    }
    if has("cond_stage_model.model.") {
      return refuse("has a UNet that takes more than a prompt, as unCLIP's does", "\(wanted).")
    }
    if has(unet) || has("input_blocks.") {
      return refuse("has a UNet and lacks its text encoders", "\(wanted).")
    }
    if ["down_blocks.", "text_model.", "encoder.", "decoder."].contains(where: has) {
      return refuse(
        "is one component of a model", "Give the folder that holds model_index.json and all components.")
    }
    return refuse("holds no model of a kind that is known here", "\(wanted).")
  }

  /// The file's weights as those of components, under the names and in the shapes that `model` has them, a
  /// model of this kind in the layout of diffusers.
  func checkpoints(like model: [String: Checkpoint]) throws -> [String: Checkpoint] {
    // The UNet first: it says most of what kind of model the file is.
    let sorted = model.sorted { ($0.key == "unet" ? "" : $0.key) < ($1.key == "unet" ? "" : $1.key) }
    return try sorted.reduce(into: [:]) { $0[$1.key] = try checkpoint($1.key, like: $1.value) }
  }

  private func checkpoint(_ component: String, like model: Checkpoint) throws -> Checkpoint {
    let names = model.names.sorted()
    let place = places(component, names)
    var (parts, missing) = ([Checkpoint.Part](), [String]())
    for name in names {
      // Older folders have whole numbers in them that nobody reads.
      guard let wanted = model[name], wanted.isFloat, let place = place(name) else {
        continue
      }
      if let record = file[place.name] {
        parts.append(try part(record, place.part, wanted))
      } else {
        missing.append(place.name)
      }
    }
    guard missing.isEmpty else { throw absence(component, missing) }
    return Checkpoint(file, parts)
  }

  private func absence(_ component: String, _ missing: [String]) -> DiffusionError {
    let rest = missing.count > 1 ? " and \(missing.count - 1) more" : ""
    let fact = "has no tensor \"\(missing[0])\"\(rest), which \(kind.title) has"
    let isAutoencoder = component == "vae" && file.tensors.allSatisfy { !$0.name.hasPrefix(Self.autoencoder) }
    let remedy =
      isAutoencoder
      ? "It comes without an autoencoder: give one with --vae."
      : "Download it again, or a checkpoint of \(kind.title)."
    return DiffusionError(.data, path: path, fact, remedy: remedy)
  }

  /// Where a component's tensors are in the file, as a function of their names; nil for those that it has no
  /// names for.
  private func places(_ component: String, _ names: [String]) -> (String) -> Place? {
    func leaf(_ name: String) -> Substring.Index { name.lastIndex(of: ".") ?? name.endIndex }
    func layered(_ start: String, _ original: @escaping (String) -> String?) -> (String) -> Place? {
      { name in original(String(name[..<leaf(name)])).map { Place(name: start + $0 + name[leaf(name)...]) } }
    }
    let layers = names.map { String($0[..<leaf($0)]) }
    switch component {
    case "unet":
      let original = OriginalNames(layers)
      return layered(Self.unet) { original[$0] }
    case "vae":
      let original = OriginalAutoencoderNames(layers)
      return layered(Self.autoencoder) { original[$0] }
    default:
      guard let encoder = encoders[component] else { return { _ in nil } }
      return { name in
        let bare = name.hasPrefix("text_model.") ? String(name.dropFirst("text_model.".count)) : name
        let place = encoder.isOpenCLIP ? OpenCLIPNames.place(of: bare) : Place(name: bare)
        return place.map { Place(name: encoder.start + $0.name, part: $0.part) }
      }
    }
  }

  /// What `part` of a tensor is to be, named and shaped as `wanted`.
  private func part(_ record: SafetensorsRecord, _ part: Place.Part, _ wanted: SafetensorsRecord) throws
    -> Checkpoint.Part
  {
    let expected: [Int]
    switch part {
    case .whole: expected = wanted.shape
    case .third: expected = wanted.shape.prefix(1).map { 3 * $0 } + wanted.shape.dropFirst()
    case .transposed: expected = wanted.shape.reversed()
    }
    // What is a convolution of one pixel there may be a linear layer here.
    guard record.shape == expected || record.shape == expected + [1, 1] else {
      throw DiffusionError(
        .unavailable, path: path,
        "has \"\(record.name)\" in the shape \(record.shape), not \(expected) as \(kind.title) has it",
        remedy: "Take a checkpoint of \(kind.title) itself, not of a model derived from it.")
    }
    guard record.isFloat else {
      throw DiffusionError(
        .unavailable, path: path, "has \"\(record.name)\" in the type \(record.dtype)",
        remedy: "Take a checkpoint in F16, BF16 or F32.")
    }
    var range = record.range
    if case .third(let number) = part {
      let count = range.count / 3
      range = range.lowerBound + number * count..<range.lowerBound + (number + 1) * count
    }
    let named = SafetensorsRecord(name: wanted.name, dtype: record.dtype, shape: wanted.shape, range: range)
    return Checkpoint.Part(record: named, isTransposed: part == .transposed)
  }
}
