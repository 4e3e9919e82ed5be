/// Which timesteps a number of steps at a strength are.
public enum Timesteps: Sendable {
  /// Those that diffusers gives to image to image, and at strength 1 from text: the last of all in the model's spacing.
  case diffusers
  /// In even steps from the strength's own, whatever spacing the model's file names: a live picture follows each change
  /// of the strength, and one step is enough to repaint it.
  case even

  /// `steps` of them, the highest first. `strength` is above 0 and at most 1.
  public func of(_ config: SchedulerConfig, steps: Int, strength: Double) -> [Float] {
    switch self {
    case .even: return Self.evenly(steps, strength, train: config.trainTimesteps)
    case .diffusers:
      let total = Self.inferenceSteps(for: steps, strength: strength)
      return (total - steps..<total).map { config.timestep($0, of: total) }
    }
  }

  // MARK: diffusers

  /// The fewest `num_inference_steps` N of which diffusers takes that many, int(N·S): in floating point, where
  /// int(100·0.29) is 28.
  public static func inferenceSteps(for steps: Int, strength: Double) -> Int {
    // A million are as good as more: all of the last ones are at the start of the training timesteps.
    let strength = max(strength, Double(steps) / 1e6)
    var total = max(steps, Int(Double(steps) / strength) - 1)
    while Int(Double(total) * strength) < steps { total += 1 }
    return total
  }

  /// Timestep `index` of `total` from `train` training timesteps, by the end of each piece ("trailing"). Exactly as
  /// NumPy's arange makes them, so that both round the same numbers; but of some totals since 61 arange makes one more, at
  /// −1, which is not taken.
  static func trailing(_ index: Int, of total: Int, train: Int) -> Float {
    let train = Double(train)
    let spacing = (train - train / Double(total)) - train
    return rounded(train + Double(index) * spacing)
  }

  // MARK: Live

  /// t_k = round(T·S·(1 − k/N)) − 1 for k = 0..<N, T training timesteps, halves to even. Where N/S is whole these are
  /// diffusers' "trailing" ones.
  private static func evenly(_ steps: Int, _ strength: Double, train: Int) -> [Float] {
    let total = (Double(steps) / strength).rounded()
    let isWhole = total < 1e6 && abs(total * strength - Double(steps)) < 1e-9 * Double(steps)
    return (0..<steps).map { k in
      isWhole
        ? trailing(Int(total) - steps + k, of: Int(total), train: train)
        : rounded(Double(train) * strength * (1 - Double(k) / Double(steps)))
    }
  }

  private static func rounded(_ end: Double) -> Float { Float(max(end.rounded(.toNearestOrEven) - 1, 0)) }
}

extension SchedulerConfig {
  /// Timestep `index` of `total` of diffusers' `set_timesteps`; the first is the highest.
  func timestep(_ index: Int, of total: Int) -> Float {
    let fromEnd = total - 1 - index
    switch spacing {
    case .trailing: return Timesteps.trailing(index, of: total, train: trainTimesteps)
    case .leading: return Float(fromEnd * (trainTimesteps / total) + stepsOffset)
    case .linspace:
      guard total > 1 else { return 0 }
      return index == 0
        ? Float(trainTimesteps - 1)
        : Float(Double(fromEnd) * (Double(trainTimesteps - 1) / Double(total - 1)))
    }
  }
}
