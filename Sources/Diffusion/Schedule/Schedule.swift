import Glibc

/// Timesteps and noise levels of one denoising, and the arithmetic of each step as numbers.
///
/// Both Euler samplers (Karras 2022, algorithm 2 without churn; ancestral as in k-diffusion) are linear in the
/// latent x, the model's answer m and noise n: x' = a·x + b·m + u·n, where the model sees c·x.
public struct Schedule: Sendable, Equatable {
  /// One step's numbers.
  public struct Step: Sendable, Equatable {
    public let timestep: Float
    /// `scale_model_input`: 1 / sqrt(σ² + 1).
    public let inputScale: Float
    public let sample, model, noise: Float
  }

  public let steps: [Step]
  /// Noise levels, one more than steps; the last is 0.
  public let sigmas: [Float]
  /// What the noise is multiplied by where there is nothing else to start from (`init_noise_sigma`).
  public let noiseAlone: Float

  /// Strength 1 starts from noise alone.
  public init(
    _ config: SchedulerConfig, steps: Int, strength: Double, timesteps: Timesteps = .diffusers
  ) {
    self.init(config, timesteps: timesteps.of(config, steps: steps, strength: strength))
  }

  /// Noise levels are interpolated between those of the training timesteps.
  public init(_ config: SchedulerConfig, timesteps: [Float]) {
    let sigmas = timesteps.map { Float(Self.interpolate(config.sigmas, at: Double($0))) } + [0]
    self.sigmas = sigmas
    let highest = sigmas.max() ?? 0
    noiseAlone = config.spacing == .leading ? (highest * highest + 1).squareRoot() : highest
    steps = timesteps.indices.map {
      Self.step(config, timesteps[$0], from: Double(sigmas[$0]), to: Double(sigmas[$0 + 1]))
    }
  }

  private static func interpolate(_ table: [Double], at position: Double) -> Double {
    let last = table.count - 1
    guard position < Double(last) else { return table[last] }
    let index = max(Int(position), 0)
    return table[index] + (table[index + 1] - table[index]) * (position - Double(index))
  }

  // MARK: Steps

  private static func step(_ config: SchedulerConfig, _ timestep: Float, from sigma: Double, to next: Double)
    -> Step
  {
    let (down, up) = target(config.kind, from: sigma, to: next)
    let change = down - sigma
    let square = sigma * sigma + 1
    let sample: Double
    let model: Double
    switch config.prediction {
    case .epsilon:
      // The derivative is the predicted noise itself.
      (sample, model) = (1, change)
    case .velocity:
      // x0 = x/(σ² + 1) − v·σ/√(σ² + 1); the derivative is (x − x0)/σ.
      (sample, model) = (1 + change * sigma / square, change / square.squareRoot())
    }
    return Step(
      timestep: timestep, inputScale: Float(1 / square.squareRoot()), sample: Float(sample),
      model: Float(model), noise: Float(up))
  }

  /// The noise level to step to, and that of the noise to add.
  private static func target(
    _ kind: SchedulerConfig.Kind, from sigma: Double, to next: Double
  ) -> (down: Double, up: Double) {
    guard kind == .eulerAncestral, sigma > 0 else { return (next, 0) }
    let up = max(next * next * (sigma * sigma - next * next) / (sigma * sigma), 0).squareRoot()
    return (max(next * next - up * up, 0).squareRoot(), up)
  }
}
