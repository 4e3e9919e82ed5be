import Engine

/// `vae/config.json`, of either class.
public struct AutoencoderConfig: Sendable {
  enum Kind: Sendable {
    case kl(AutoencoderKLConfig)
    case tiny(AutoencoderTinyConfig)
  }

  let kind: Kind
  /// Latents are multiplied by it before they are diffused.
  let scalingFactor: Float
  /// Mean and deviation of each channel, for the few models that are normed so. Only the SDXL pipelines of
  /// diffusers heed them; those of neither kind heed `shift_factor`.
  let latentsMean, latentsDeviation: [Float]?
  /// Keep the autoencoder in f32 whatever the rest is in.
  let forceUpcast: Bool

  static let classes = ["AutoencoderKL", "AutoencoderTiny"]

  public init(_ config: Config) throws {
    let name = try config.string("_class_name")
    switch name {
    case "AutoencoderKL": kind = .kl(try AutoencoderKLConfig(config))
    case "AutoencoderTiny": kind = .tiny(try AutoencoderTinyConfig(config))
    default:
      throw config.unsupported("_class_name", .string(name), known: Self.classes)
    }
    var isTiny = false
    if case .tiny = kind { isTiny = true }
    scalingFactor = Float(try config.number("scaling_factor", isTiny ? 1 : 0.18215))
    // AutoencoderTiny sets it to false whatever the file says.
    forceUpcast = try config.bool("force_upcast", true) && !isTiny
    latentsMean = try config.numbers("latents_mean")?.map(Float.init)
    latentsDeviation = try config.numbers("latents_std")?.map(Float.init)
    guard scalingFactor.isFinite, (1 / scalingFactor).isFinite else {
      throw config.invalid("scaling_factor", "should be a number other than zero")
    }
    try checkStatistics(config)
    guard pictureChannels == [3, 3] else {
      throw config.invalid("in_channels", "and out_channels should be 3, red, green and blue")
    }
  }

  private func checkStatistics(_ config: Config) throws {
    for (key, list) in [("latents_mean", latentsMean), ("latents_std", latentsDeviation)] {
      guard let list, list.count != latentChannels else { continue }
      throw config.invalid(key, "has \(list.count) entries for \(latentChannels) latent channels")
    }
    guard latentsMean?.allSatisfy(\.isFinite) ?? true else {
      throw config.invalid("latents_mean", "has a number that is too large")
    }
    guard latentsDeviation?.allSatisfy({ $0.isFinite && $0 > 0 && (1 / $0).isFinite }) ?? true else {
      throw config.invalid("latents_std", "should have numbers above zero")
    }
  }

  /// diffusers' name for its kind.
  public var className: String {
    switch kind {
    case .kl: return "AutoencoderKL"
    case .tiny: return "AutoencoderTiny"
    }
  }

  /// Channels of a latent.
  public var latentChannels: Int {
    switch kind {
    case .kl(let config): return config.latentChannels
    case .tiny(let config): return config.latentChannels
    }
  }

  private var pictureChannels: [Int] {
    switch kind {
    case .kl(let config): return [config.inChannels, config.outChannels]
    case .tiny(let config): return [config.inChannels, config.outChannels]
    }
  }

  /// Pixels of the picture for one of the latent, on each side.
  public var encoderFactor: Int {
    switch kind {
    case .kl(let config): return 1 << (config.channels.count - 1)
    case .tiny(let config): return 1 << (config.encoderChannels.count - 1)
    }
  }

  var decoderFactor: Int {
    switch kind {
    case .kl(let config): return 1 << (config.channels.count - 1)
    case .tiny(let config):
      return (1..<config.decoderChannels.count).reduce(1) { product, _ in product * config.upsampling }
    }
  }

  /// Whether a latent is drawn from a distribution, as AutoencoderKL's is.
  public var isRandom: Bool {
    if case .kl = kind { return true }
    return false
  }
}

/// Picture to latent and back, by either class.
public struct Autoencoder {
  private enum Model {
    case kl(AutoencoderKL)
    case tiny(AutoencoderTiny)
  }

  private let graph: Graph
  private let element: ElementType
  private let config: AutoencoderConfig
  private let model: Model

  /// Takes its weights from `scope`; `scope.check()` tells whether they were all there.
  public init(_ scope: Scope, _ config: AutoencoderConfig) {
    graph = scope.graph
    element = scope.element
    self.config = config
    switch config.kind {
    case .kl(let config): model = .kl(AutoencoderKL(scope, config))
    case .tiny(let config): model = .tiny(AutoencoderTiny(scope, config))
    }
  }

  /// What the encoder gives, f32: for AutoencoderKL means and log variances `[h, w, 2C]`, for AutoencoderTiny
  /// the latent `[h, w, C]`. `picture [H, W, 3]` in -1...1.
  public func encode(_ picture: Value) -> Value {
    let picture = graph.cast(picture, element)
    switch model {
    case .kl(let model): return graph.cast(model.encode(picture), .f32)
    case .tiny(let model): return graph.cast(model.encode(picture), .f32)
    }
  }

  /// The latent `[h, w, C]` from what `encode` gave: the mean, or with `noise [h, w, C]` a sample
  /// (diffusers `DiagonalGaussianDistribution`). Not scaled.
  public func latent(_ encoded: Value, noise: Value?) -> Value {
    guard case .kl = model else { return encoded }
    let channels = config.latentChannels
    let mean = graph.slice(encoded, axis: 2, start: 0, count: channels)
    guard let noise else { return mean }
    let logVariance = graph.clamp(graph.slice(encoded, axis: 2, start: channels, count: channels), -30, 20)
    let deviation = graph.activation(graph.affine(logVariance, scale: 0.5, offset: 0), .exp)
    return graph.add(mean, graph.multiply(deviation, noise))
  }

  /// A latent as it is diffused: about variance 1. `normed`: by each channel's statistics, if it has them.
  public func scale(_ latent: Value, normed: Bool) -> Value {
    guard normed, let (mean, deviation) = statistics() else {
      return config.scalingFactor == 1 ? latent : graph.affine(latent, scale: config.scalingFactor, offset: 0)
    }
    let centered = graph.affine(graph.subtract(latent, mean), scale: config.scalingFactor, offset: 0)
    return graph.divide(centered, deviation)
  }

  /// The inverse of `scale`.
  public func unscale(_ latent: Value, normed: Bool) -> Value {
    guard normed, let (mean, deviation) = statistics() else {
      return config.scalingFactor == 1
        ? latent : graph.affine(latent, scale: 1 / config.scalingFactor, offset: 0)
    }
    let spread = graph.affine(graph.multiply(latent, deviation), scale: 1 / config.scalingFactor, offset: 0)
    return graph.add(spread, mean)
  }

  private func statistics() -> (mean: Value, deviation: Value)? {
    guard let mean = config.latentsMean, let deviation = config.latentsDeviation else { return nil }
    return (graph.constant(mean, [mean.count]), graph.constant(deviation, [deviation.count]))
  }

  /// `latent [h, w, C]`, f32, not scaled → picture `[H, W, 3]` about -1...1
  public func decode(_ latent: Value) -> Value {
    switch model {
    case .kl(let model): return model.decode(graph.cast(latent, element))
    case .tiny(let model): return model.decode(latent, element: element)
    }
  }
}
