import Glibc

/// `scheduler/scheduler_config.json` of EulerDiscreteScheduler or EulerAncestralDiscreteScheduler. Absent keys
/// take diffusers' defaults; null is refused where diffusers fails with it.
public struct SchedulerConfig: Sendable {
  public enum Kind: String, CaseIterable, Sendable {
    case euler = "EulerDiscreteScheduler"
    case eulerAncestral = "EulerAncestralDiscreteScheduler"
  }
  public enum Prediction: String, CaseIterable, Sendable {
    case epsilon
    case velocity = "v_prediction"
  }
  /// How the timesteps of a denoising are spread over those of the training (Lin 2023, table 2).
  public enum Spacing: String, CaseIterable, Sendable { case linspace, leading, trailing }

  public let kind: Kind
  public let prediction: Prediction
  public let spacing: Spacing
  /// Added to the timesteps of `leading`.
  public let stepsOffset: Int
  public let trainTimesteps: Int
  /// Noise levels of the training timesteps: sqrt((1 - ᾱ) / ᾱ). As many as there are timesteps, but where the file has
  /// more or fewer betas; those beyond have the last one's.
  public let sigmas: [Double]

  /// `className`: diffusers' name for its kind, nil where the file itself says. `stepsOffset`: in the place of the
  /// file's.
  public init(_ config: Config, className: String? = nil, stepsOffset: Int? = nil) throws {
    let name = try className ?? config.string("_class_name")
    guard let kind = Kind(rawValue: name) else {
      throw config.unsupported("_class_name", .string(name), known: Kind.allCases.map(\.rawValue))
    }
    self.kind = kind
    try config.refuseNull(["num_train_timesteps", "prediction_type", "timestep_spacing"])
    prediction = try Self.choice(config, "prediction_type", .epsilon)
    spacing = try Self.choice(config, "timestep_spacing", .linspace)
    if spacing == .leading, stepsOffset == nil { try config.refuseNull(["steps_offset"]) }
    self.stepsOffset = try stepsOffset ?? config.int("steps_offset", 0, in: 0...Config.largest)
    if kind == .euler { try Self.refuseOtherSigmas(config, prediction) }
    trainTimesteps = try config.int("num_train_timesteps", 1000, in: 1...100_000)
    sigmas = try Self.sigmas(config, count: trainTimesteps)
  }

  private static func choice<Choice: RawRepresentable & CaseIterable>(
    _ config: Config, _ key: String, _ fallback: Choice
  ) throws -> Choice where Choice.RawValue == String {
    let name = try config.string(key, fallback.rawValue)
    guard let choice = Choice(rawValue: name) else {
      throw config.unsupported(key, .string(name), known: Choice.allCases.map(\.rawValue))
    }
    return choice
  }

  /// Options of EulerDiscreteScheduler alone; the ancestral one has none of them, although its files often
  /// keep them from the scheduler they were made of.
  private static func refuseOtherSigmas(_ config: Config, _ prediction: Prediction) throws {
    try config.refuseNull(["interpolation_type", "final_sigmas_type"])
    for key in ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"] {
      try config.refuse(key, remedy: "Set it to false to have the noise levels of the timesteps.")
    }
    try config.refuse("interpolation_type", except: ["linear"])
    // Of no effect on a model that predicts noise.
    if prediction == .velocity { try config.refuse("timestep_type", except: ["discrete"]) }
    try config.refuse("final_sigmas_type", except: ["zero"])
  }

  // MARK: Noise levels

  /// In single precision where torch is, so that the numbers are diffusers' own.
  private static func sigmas(_ config: Config, count: Int) throws -> [Double] {
    var betas = try betas(config, count)
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

  private static func betas(_ config: Config, _ count: Int) throws -> [Float] {
    // As many as there are, as in diffusers.
    if let trained = try config.numbers("trained_betas") { return trained.map(Float.init) }
    try config.refuseNull(["beta_schedule"])
    let schedule = try config.string("beta_schedule", "linear")
    if schedule != "squaredcos_cap_v2" { try config.refuseNull(["beta_start", "beta_end"]) }
    let (start, end) = (try config.number("beta_start", 0.0001), try config.number("beta_end", 0.02))
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
