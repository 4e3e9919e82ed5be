import Frames

/// Everything about a picture that a person may change while it runs: one immutable value, replaced whole.
public struct Settings: Equatable, Sendable {
  public var prompt: String
  /// Where the UNet starts, in (0, 1]: 1 is pure noise, small values keep the camera's picture.
  public var strength: Double
  /// UNet evaluations, 1 to 50.
  public var steps: Int
  public var seed: UInt64
  /// Pixels of the repainted picture.
  public var size: PictureSize
  public var fit: Fit
  public var mirror: Bool
  /// How much of a camera's noise is averaged away where the picture stands still, in [0, 1) (`Steadier`).
  public var steady: Double
  /// A picture in no part of which this many levels of 255 changed is not painted again (`ChangeDetector`); 0 paints all.
  public var still: Double
  /// Whether the input is shown to the left of the repainted picture.
  public var compare: Bool

  public init(
    prompt: String, strength: Double, steps: Int, seed: UInt64, size: PictureSize, fit: Fit, mirror: Bool,
    steady: Double = usualSteadiness, still: Double = usualStillness, compare: Bool = false
  ) throws(SettingsError) {
    self.prompt = prompt
    self.strength = strength
    self.steps = steps
    self.seed = seed
    self.size = size
    self.fit = fit
    self.mirror = mirror
    self.steady = steady
    self.still = still
    self.compare = compare
    try check()
  }

  /// The same for another size and number of steps; nil where they do not go together.
  func with(_ shape: PainterShape) -> Settings? {
    var copy = self
    (copy.size, copy.steps) = (shape.size, shape.steps)
    return (try? copy.check()) == nil ? nil : copy
  }

  /// Longest prompt taken, in UTF-8 bytes; the tokenizer keeps 77 tokens of it.
  public static let longestPrompt = 4096
  public static let stepsRange = 1...50
  /// Above this, a small change takes about a second to show.
  public static let steadyRange = 0...0.95
  /// Cuts noise-induced flicker of a still scene by more than half.
  public static let usualSteadiness = 0.8
  /// Above this, a face may move unseen.
  public static let stillRange = 0.0...16
  /// What is left of a camera's noise does not reach this, and nobody sees less.
  public static let usualStillness = 2.0
  /// torch's CPU generator keeps the low 32 bits of a seed.
  public static let seedRange: ClosedRange<UInt64> = 0...UInt64(UInt32.max)

  /// T of every Stable Diffusion; settings are checked before the model is there.
  private static let trainTimesteps = 1000.0

  /// Refuses what no model could run.
  func check() throws(SettingsError) {
    guard prompt.utf8.count <= Self.longestPrompt else {
      throw SettingsError("prompt", "is longer than \(Self.longestPrompt) bytes")
    }
    guard strength > 0, strength <= 1 else {
      throw SettingsError("strength", "must be above 0 and at most 1, not \(strength)")
    }
    guard Self.stepsRange.contains(steps) else {
      throw SettingsError("steps", "must be from 1 to 50, not \(steps)")
    }
    guard Self.steadyRange.contains(steady) else {
      throw SettingsError("steady", "must be from 0 to \(Self.steadyRange.upperBound), not \(steady)")
    }
    guard Self.stillRange.contains(still) else {
      throw SettingsError("still", "must be from 0 to \(Self.stillRange.upperBound), not \(still)")
    }
    guard Self.seedRange.contains(seed) else {
      throw SettingsError("seed", "must be from 0 to \(Self.seedRange.upperBound), not \(seed)")
    }
    // The last timestep is round(T·S/N) − 1; closer steps than 1 would repeat a timestep.
    guard Self.trainTimesteps * strength >= Double(steps) else {
      throw SettingsError(
        "steps", "\(steps) do not fit in strength \(strength): at most \(Int(Self.trainTimesteps * strength))"
      )
    }
    try size.check()
  }
}

/// Width and height of a picture in pixels.
public struct PictureSize: Equatable, Hashable, Sendable, CustomStringConvertible {
  public var width: Int
  public var height: Int

  public init(width: Int, height: Int) { (self.width, self.height) = (width, height) }

  /// Parses "WxH". Without bounds given it is a size that models take.
  public init(
    _ text: String, in sides: ClosedRange<Int> = range, multipleOf step: Int = step
  ) throws(SettingsError) {
    let parts = text.split(separator: "x", maxSplits: 1, omittingEmptySubsequences: false)
    // Int() would take a sign.
    guard parts.count == 2, parts.allSatisfy({ $0.allSatisfy(\.isWholeNumber) }),
      let width = Int(parts[0]), let height = Int(parts[1])
    else {
      throw SettingsError("size", "must be WxH, such as 512x512, not '\(text)'")
    }
    self.init(width: width, height: height)
    try check(sides, step)
  }

  public static let range = 64...4096
  public static let step = 8
  public var description: String { "\(width)x\(height)" }

  /// About as many pixels in the shape of another size, in sides that are multiples of `unit`, a power of two; of one
  /// that no size has (it comes of a model's file), of `step`.
  public func inShape(of other: PictureSize, unit: Int) -> PictureSize {
    let unit = (Self.step...Self.range.upperBound).contains(unit) ? unit : Self.step
    let pixels = Double(width * height)
    let aspect = Double(other.width) / Double(other.height)
    func side(_ length: Double) -> Int {
      let (least, most) = ((Self.range.lowerBound + unit - 1) / unit, Self.range.upperBound / unit)
      return unit * min(max(least, Int((length / Double(unit)).rounded())), most)
    }
    return PictureSize(
      width: side((pixels * aspect).squareRoot()), height: side((pixels / aspect).squareRoot()))
  }

  func check(_ sides: ClosedRange<Int> = range, _ step: Int = step) throws(SettingsError) {
    guard sides.contains(width), sides.contains(height) else {
      throw SettingsError(
        "size", "\(self): width and height must be from \(sides.lowerBound) to \(sides.upperBound)")
    }
    guard width % step == 0, height % step == 0 else {
      let half = step / 2
      let nearest = PictureSize(
        width: (width + half) / step * step, height: (height + half) / step * step)
      throw SettingsError(
        "size", "\(self): width and height must be multiples of \(step); the nearest is \(nearest)")
    }
  }
}

/// A setting that was refused, and why.
public struct SettingsError: Error, Equatable, CustomStringConvertible {
  public var name: String
  public var reason: String
  public init(_ name: String, _ reason: String) { (self.name, self.reason) = (name, reason) }
  public var description: String { "\(name) \(reason)" }
}
