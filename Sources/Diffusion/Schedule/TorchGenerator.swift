import Glibc

/// Random numbers as torch's CPU generator draws them: `torch.randn` in float32 after
/// `torch.Generator().manual_seed(seed)`.
///
/// Source: ATen/core/MT19937RNGEngine.h, ATen/core/DistributionsHelper.h and
/// aten/src/ATen/native/cpu/DistributionTemplates.h. Torch's vectorised logarithm and cosine differ from the
/// C library's in the last bits, so values agree to about 1e-6.
public struct TorchGenerator {
  private var engine: MersenneTwister
  /// The second normal of a pair drawn in double precision, kept for the next call.
  private var cachedNormal: Double?

  /// Only the lower 32 bits of the seed count, as in torch.
  public init(seed: Int) { engine = MersenneTwister(seed: UInt32(truncatingIfNeeded: seed)) }

  /// `torch.randn(count)`: pairs by Box and Muller, in one of two ways by count.
  public mutating func normals(_ count: Int) -> [Float] {
    guard count >= 16 else { return (0..<count).map { _ in Float(doubleNormal()) } }
    var data = (0..<count).map { _ in uniform() }
    for start in stride(from: 0, through: count - 16, by: 16) { Self.transform(&data, at: start) }
    if count % 16 != 0 {
      // The rest is not transformed: the last sixteen are drawn anew.
      for index in count - 16..<count { data[index] = uniform() }
      Self.transform(&data, at: count - 16)
    }
    return data
  }

  /// 24 random bits, in [0, 1).
  private mutating func uniform() -> Float { Float(engine.next() & 0xFF_FFFF) / 16_777_216 }

  /// 53 random bits, in [0, 1); the first draw gives the upper half.
  private mutating func doubleUniform() -> Double {
    let high = UInt64(engine.next())
    let bits = (high << 32 | UInt64(engine.next())) & (1 << 53 - 1)
    return Double(bits) / 9_007_199_254_740_992
  }

  private mutating func doubleNormal() -> Double {
    if let cached = cachedNormal {
      cachedNormal = nil
      return cached
    }
    let angle = 2 * Double.pi * doubleUniform()
    let radius = (-2 * log1p(-doubleUniform())).squareRoot()
    cachedNormal = radius * sin(angle)
    return radius * cos(angle)
  }

  private static func transform(_ data: inout [Float], at start: Int) {
    for index in start..<start + 8 {
      let radius = (-2 * logf(1 - data[index])).squareRoot()
      let angle = 2 * Float.pi * data[index + 8]
      data[index] = radius * cosf(angle)
      data[index + 8] = radius * sinf(angle)
    }
  }
}

/// MT19937 (Matsumoto and Nishimura 1998).
struct MersenneTwister {
  private var state = [UInt32](repeating: 0, count: 624)
  private var position = 624

  init(seed: UInt32) {
    state[0] = seed
    for index in 1..<624 {
      let last = state[index - 1]
      state[index] = 1_812_433_253 &* (last ^ last >> 30) &+ UInt32(index)
    }
  }

  mutating func next() -> UInt32 {
    if position == 624 { refill() }
    var y = state[position]
    position += 1
    y ^= y >> 11
    y ^= y << 7 & 0x9D2C_5680
    y ^= y << 15 & 0xEFC6_0000
    return y ^ y >> 18
  }

  private mutating func refill() {
    for index in 0..<624 {
      let mixed = state[index] & 0x8000_0000 | state[(index + 1) % 624] & 0x7FFF_FFFF
      state[index] = state[(index + 397) % 624] ^ mixed >> 1 ^ (mixed & 1 == 0 ? 0 : 0x9908_B0DF)
    }
    position = 0
  }
}
