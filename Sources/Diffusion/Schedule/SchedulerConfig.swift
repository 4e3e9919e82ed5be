import Glibc

/// `scheduler/scheduler_config.json` of EulerDiscreteScheduler or EulerAncestralDiscreteScheduler. Absent keys
/// take diffusers' defaults. The spacing of timesteps is ours (`Schedule.timesteps`), whatever the file says.
public struct SchedulerConfig: Sendable {
  public enum Kind: String, CaseIterable, Sendable {
    case euler = "EulerDiscreteScheduler"
    case eulerAncestral = "EulerAncestralDiscreteScheduler"
  }
  public enum Prediction: String, CaseIterable, Sendable {
    case epsilon
    case velocity = "v_prediction"
  }

  public let kind: Kind
  public let prediction: Prediction
  /// Noise levels of all training timesteps: sqrt((1 - ᾱ) / ᾱ).
  public let sigmas: [Double]

  public var trainTimesteps: Int { sigmas.count }

  /// `className`: diffusers' name for its kind, nil where the file itself says.
  public init(_ config: Config, className: String? = nil) throws {
    let name = try className ?? config.string("_class_name")
    guard let kind = Kind(rawValue: name) else {
      throw config.unsupported("_class_name", .string(name), known: Kind.allCases.map(\.rawValue))
    }
    self.kind = kind
    let prediction = try config.string("prediction_type", "epsilon")
    guard let prediction = Prediction(rawValue: prediction) else {
      throw config.unsupported(
        "prediction_type", .string(prediction), known: Prediction.allCases.map(\.rawValue))
    }
    self.prediction = prediction
    if kind == .euler { try Self.refuseOtherSigmas(config) }
    sigmas = try Self.sigmas(config)
  }

  /// Options of EulerDiscreteScheduler alone; the ancestral one has none of them, although its files often
  /// keep them from the scheduler they were made of.
  private static func refuseOtherSigmas(_ config: Config) throws {
    for key in ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"] {
      try config.refuse(key, remedy: "Set it to false to have the noise levels of the timesteps.")
    }
    try config.refuse("interpolation_type", except: ["linear"])
    try config.refuse("timestep_type", except: ["discrete"])
    try config.refuse("final_sigmas_type", except: ["zero"])
  }

  // MARK: Noise levels

  /// In single precision where torch is, so that the numbers are diffusers' own.
  private static func sigmas(_ config: Config) throws -> [Double] {
    var betas = try betas(config)
    let isZeroTerminal = try config.bool("rescale_betas_zero_snr", false)
    if isZeroTerminal { betas = rescaledToZeroSNR(betas) }
    var products = cumulativeProducts(betas.map { 1 - $0 })
    // Close to zero, so that the first sigma is finite.
    if isZeroTerminal { products[products.count - 1] = 0x1p-24 }
    let sigmas = products.map { Double(((1 - $0) / $0).squareRoot()) }
    guard sigmas.allSatisfy({ $0.isFinite && $0 >= 0 }), sigmas.contains(where: { $0 > 0 }) else {
      throw config.invalid("beta_start", "the betas do not give finite noise levels")
    }
    return sigmas
  }

  private static func betas(_ config: Config) throws -> [Float] {
    let count = try config.int("num_train_timesteps", 1000, in: 1...100_000)
    if let trained = try config.numbers("trained_betas") {
      guard trained.count == count else {
        throw config.invalid("trained_betas", "has \(trained.count) entries for \(count) timesteps")
      }
      return trained.map(Float.init)
    }
    let (start, end) = (try config.number("beta_start", 0.0001), try config.number("beta_end", 0.02))
    let schedule = try config.string("beta_schedule", "linear")
    switch schedule {
    case "linear": return linspace(start, end, count)
    case "scaled_linear":
      guard start >= 0, end >= 0 else {
        throw config.invalid("beta_start", "and beta_end should not be negative")
      }
      return linspace(start.squareRoot(), end.squareRoot(), count).map { $0 * $0 }
    case "squaredcos_cap_v2": return cosineBetas(count)
    default:
      throw config.unsupported(
        "beta_schedule", .string(schedule), known: ["linear", "scaled_linear", "squaredcos_cap_v2"])
    }
  }

  /// `torch.linspace` in float32: steps from the nearer end.
  private static func linspace(_ start: Double, _ end: Double, _ count: Int) -> [Float] {
    guard count > 1 else { return [Float(start)] }
    let (start, end) = (Float(start), Float(end))
    let step = (end - start) / Float(count - 1)
    return (0..<count).map { $0 < count / 2 ? start + step * Float($0) : end - step * Float(count - 1 - $0) }
  }

  /// `betas_for_alpha_bar` with the cosine of Nichol and Dhariwal 2021.
  private static func cosineBetas(_ count: Int) -> [Float] {
    func alphaBar(_ t: Double) -> Double {
      let cosine = cos((t + 0.008) / 1.008 * Double.pi / 2)
      return cosine * cosine
    }
    return (0..<count).map {
      let (now, next) = (Double($0) / Double(count), Double($0 + 1) / Double(count))
      return Float(min(1 - alphaBar(next) / alphaBar(now), 0.999))
    }
  }

  /// Lin 2023, algorithm 1 (diffusers `rescale_zero_terminal_snr`).
  private static func rescaledToZeroSNR(_ betas: [Float]) -> [Float] {
    var roots = cumulativeProducts(betas.map { 1 - $0 }).map { $0.squareRoot() }
    let (first, last) = (roots[0], roots[roots.count - 1])
    roots = roots.map { ($0 - last) * (first / (first - last)) }
    let bars = roots.map { $0 * $0 }
    return bars.indices.map { 1 - ($0 == 0 ? bars[0] : bars[$0] / bars[$0 - 1]) }
  }

  /// `torch.cumprod` on the CPU, which accumulates in double precision.
  private static func cumulativeProducts(_ numbers: [Float]) -> [Float] {
    var product = 1.0
    return numbers.map {
      product *= Double($0)
      return Float(product)
    }
  }
}
