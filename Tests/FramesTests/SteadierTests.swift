import Frames
import TestSupport
import Testing

/// What stands still gets quieter, what moves is let through.
struct SteadierTests {
  private static let side = 128

  /// A picture with edges, curves and fine texture, `shift` pixels further left; levels 20 to 235.
  private static func scene(_ shift: Int = 0) -> [Float] {
    var samples: [Float] = []
    for y in 0..<side {
      for x in 0..<side {
        let x = x + shift
        let block: Float = (x / 24 + y / 40) % 2 == 0 ? 60 : 0
        let fine: Float = (x * 7 + y * 3) % 11 < 5 ? 18 : 0
        samples += [90 + block + fine, 70 + block * 1.4, 160 - block + fine / 2]
      }
    }
    return samples
  }

  /// Noise of so many levels, nearly Gaussian: the sum of twelve.
  private static func noisy(_ clean: [Float], _ sigma: Float, _ random: inout SplitMix) -> [UInt8] {
    clean.map { sample in
      let sum = (0..<12).reduce(Float(0)) { sum, _ in sum + Float.random(in: 0..<1, using: &random) }
      return UInt8(min(max((sample + sigma * (sum - 6)).rounded(), 0), 255))
    }
  }

  private static func exact(_ clean: [Float]) -> [UInt8] { clean.map { UInt8($0.rounded()) } }

  private static func steady(_ steadier: Steadier, _ frame: [UInt8], _ amount: Double = 0.8) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: frame.count)
    output.withUnsafeMutableBytes { bytes in
      steadier.steady(into: bytes, amount: amount) { $0.copyBytes(from: frame) }
    }
    return output
  }

  private static func change(_ a: [UInt8], _ b: [UInt8]) -> Float {
    zip(a, b).reduce(Float(0)) { $0 + abs(Float($1.0) - Float($1.1)) } / Float(a.count)
  }

  /// Mean square error to the clean picture.
  private static func error(_ a: [UInt8], _ clean: [Float]) -> Float {
    zip(a, clean).reduce(Float(0)) { $0 + (Float($1.0) - $1.1) * (Float($1.0) - $1.1) } / Float(a.count)
  }

  @Test(arguments: [Float(1.5), 4, 7]) func noiseOfAStillPictureFades(sigma: Float) {
    var random = SplitMix(seed: 3)
    let (steadier, clean) = (Steadier(width: Self.side, height: Self.side), Self.scene())
    var (before, after): ([[UInt8]], [[UInt8]]) = ([], [])
    for _ in 0..<24 {
      before.append(Self.noisy(clean, sigma, &random))
      after.append(Self.steady(steadier, before[before.count - 1]))
    }
    let flicker = [before, after].map { Self.change($0[22], $0[23]) }
    #expect(flicker[1] < flicker[0] / 4, "\(flicker)")
    let errors = [before, after].map { Self.error($0[23], clean) }
    #expect(errors[1] < errors[0] / 4, "\(errors)")
  }

  /// A camera that pans, also after a long time of it: never much further from the truth than its noise.
  @Test(arguments: [1, 3, 8]) func aPanIsLetThrough(speed: Int) {
    var random = SplitMix(seed: 4)
    let steadier = Steadier(width: Self.side, height: Self.side)
    var worst: Float = 0
    for step in 0..<80 {
      let clean = Self.scene(step * speed)
      let frame = Self.noisy(clean, 3, &random)
      let found = Self.steady(steadier, frame)
      if step > 0 { worst = max(worst, Self.error(found, clean) / Self.error(frame, clean)) }
    }
    #expect(worst < 1.5, "\(worst) times the noise's square error")
  }

  /// Before a still wall a square passes: where it was nothing of it stays.
  @Test func whatPassesLeavesNoTrace() {
    var random = SplitMix(seed: 5)
    let (steadier, wall) = (Steadier(width: Self.side, height: Self.side), Self.scene())
    func with(square x: Int) -> [Float] {
      var picture = wall
      for row in 40..<88 {
        for column in max(x, 0)..<max(min(x + 32, Self.side), 0) {
          for channel in 0..<3 { picture[(row * Self.side + column) * 3 + channel] = channel == 0 ? 230 : 30 }
        }
      }
      return picture
    }
    for x in stride(from: -32, to: Self.side + 1, by: 4) {
      let clean = with(square: x)
      let frame = Self.noisy(clean, 3, &random)
      let found = Self.steady(steadier, frame)
      if x > 0 { #expect(Self.error(found, clean) < Self.error(frame, clean), "at \(x)") }
    }
  }

  @Test func aCutIsSeenAtOnce() {
    let steadier = Steadier(width: Self.side, height: Self.side)
    let (first, second) = (Self.exact(Self.scene()), Self.exact(Self.scene().map { 255 - $0 }))
    for _ in 0..<5 { _ = Self.steady(steadier, first) }
    #expect(Self.steady(steadier, second) == second)
  }

  /// Light that fades is followed, a few levels behind at the most.
  @Test func slowLightIsFollowed() {
    let steadier = Steadier(width: Self.side, height: Self.side)
    let clean = Self.scene()
    for step in 0..<40 {
      let frame = Self.exact(clean.map { $0 * (1 - Float(step) / 100) })
      #expect(Self.change(Self.steady(steadier, frame), frame) < 3, "frame \(step)")
    }
  }

  @Test func theSameFrameStaysAsItIs() {
    var random = SplitMix(seed: 6)
    let steadier = Steadier(width: Self.side, height: Self.side)
    let frame = Self.noisy(Self.scene(), 5, &random)
    for _ in 0..<4 { #expect(Self.steady(steadier, frame) == frame) }
  }

  @Test func nothingIsDoneWhereNothingIsWanted() {
    var random = SplitMix(seed: 7)
    let steadier = Steadier(width: Self.side, height: Self.side)
    for _ in 0..<4 {
      let frame = Self.noisy(Self.scene(), 5, &random)
      #expect(Self.steady(steadier, frame, 0) == frame)
    }
  }

  /// Bars have no noise and must not be taken for a quiet camera; nor must a frame that comes twice.
  @Test(arguments: [true, false]) func barsAndRepeatedFramesTellNothingOfNoise(hasBars: Bool) {
    var random = SplitMix(seed: 8)
    let steadier = Steadier(width: Self.side, height: Self.side)
    var clean = Self.scene()
    if hasBars {
      for line in 0..<Self.side where line < 32 || line >= 96 {
        for index in line * Self.side * 3..<(line + 1) * Self.side * 3 { clean[index] = -1000 }
      }
    }
    var (before, after): ([[UInt8]], [[UInt8]]) = ([], [])
    for step in 0..<30 {
      let isTwice = !hasBars && step % 2 == 1
      before.append(isTwice ? before[step - 1] : Self.noisy(clean, 5, &random))
      after.append(Self.steady(steadier, before[step]))
    }
    let flicker = [before, after].map { Self.change($0[27], $0[28]) }
    #expect(flicker[1] < flicker[0] / 3, "\(flicker)")
  }

  @Test func aFrameThatFailsIsForgotten() {
    struct Broken: Error {}
    let steadier = Steadier(width: Self.side, height: Self.side)
    let frame = Self.exact(Self.scene())
    _ = Self.steady(steadier, frame)
    var output = [UInt8](repeating: 7, count: frame.count)
    #expect(throws: Broken.self) {
      try output.withUnsafeMutableBytes { bytes in
        try steadier.steady(into: bytes, amount: 0.8) {
          $0.initializeMemory(as: UInt8.self, repeating: 200)
          throw Broken()
        }
      }
    }
    #expect(output.allSatisfy { $0 == 7 })
    #expect(Self.steady(steadier, frame) == frame)
  }

  /// Sides of all sizes that models have.
  @Test(arguments: [(8, 8), (16, 264), (72, 40)]) func everySizeIsWorkedOn(width: Int, height: Int) {
    var random = SplitMix(seed: 9)
    let steadier = Steadier(width: width, height: height)
    let clean = [Float](repeating: 120, count: width * height * 3)
    var last: [UInt8] = []
    for _ in 0..<20 { last = Self.steady(steadier, Self.noisy(clean, 4, &random)) }
    #expect(Self.error(last, clean) < 5)
  }
}
