/// One operation of the graph. `Reference` defines what each means; a backend must agree with it.
///
/// Legend: `H W` height and width, `C K` channels in and out, `T S` sequence lengths, `D` width of a
/// token. Shapes are those of `TensorType`. Arithmetic is f32 inside an op whatever is stored.
public enum Op: Hashable, Sendable {
  // MARK: Sources

  /// A value the caller writes; its cadence is part of the node.
  case input(String)
  /// A tensor of the checkpoint, in the checkpoint's own shape, converted to the node's element type.
  case weight(String)
  /// A literal, row-major. For small tables only.
  case constant([Float])

  // MARK: Layers

  /// `[H, W, C], weight [K, R, S, C], scaled: scale [K], bias? [K], residual? [H', W', K] → [H', W', K]`
  case convolution(Convolution)
  /// `[..., C], weight [K, C], scaled: scale [K], bias? [K], normalized: sums f32 [K], moments f32 [..., 2], residual? [..., K] → [..., K]`;
  /// gated: `→ [..., K/2]`
  case linear(Epilogue)
  /// `[..., C], gain [C], shift [C] → [..., C]`; statistics over all leading positions and C/groups channels.
  /// Where a norm's or geglu's result is i8, a last operand, factors f32 [C], quantizes it as `quantize` says.
  case groupNorm(groups: Int, epsilon: Float, activation: Activation?)
  /// `[..., C], gain [C], shift [C] → [..., C]`; statistics over the last dimension.
  case layerNorm(epsilon: Float)
  /// `[..., C] → f32 [..., 2]`: mean and 1/√(variance + ε) over the last dimension, what a normalized product needs.
  case moments(epsilon: Float)
  /// `q [T, heads·D], k [S, heads·D], v [S, heads·D] → [T, heads·D]`: softmax(q·kᵀ·scale)·v for each head.
  /// `causal` masks keys after the query's position.
  case attention(heads: Int, scale: Float, causal: Bool)

  // MARK: Elementwise

  case activation(Activation)
  /// `[..., 2C] → [..., C]`: the first half times gelu of the second (Shazeer 2020, GEGLU as diffusers orders it).
  case geglu
  /// Two inputs of the same element type; the second's shape broadcasts to the first's as in NumPy.
  case binary(Binary)
  /// `x·scale + offset`, stored as the node's element type; u8 input gives 0...255.
  case affine(scale: Float, offset: Float)
  /// `round(clamp(x·scale + offset, 0, 255))` as u8; halves round to even, NaN gives 0.
  case quantizePixels(scale: Float, offset: Float)
  /// Clamps to `low...high`.
  case clamp(low: Float, high: Float)
  /// `[..., C], factors f32 [C] → i8 [..., C]`: round(clamp(x·factor, -127, 127)); halves round to even, NaN gives 0.
  case quantize
  /// `[..., C] → f32 [C]`: the largest absolute value over all leading positions, 0 for NaN.
  case peaks
  case cast

  // MARK: Moving

  /// Same elements, new shape.
  case reshape
  case transpose([Int])
  /// `count` entries from `start` along `axis`.
  case slice(axis: Int, start: Int, count: Int)
  case concat(axis: Int)
  /// `[H, W, C] → [H', W', C]`, the nearest source: floor(y·H/H').
  case upsampleNearest(height: Int, width: Int)
  /// `[H+1, W+1, 4K] → [2H, 2W, K]`: pixel (2y+a, 2x+b) is channels (2a+b)·K... of position (y+a, x+b). What an
  /// up-sampling convolution leaves when it is computed in four phases (`Fusion.splitUpsampling` writes it).
  case joinPhases
  /// `table [V, D], index i32 [T] → [T, D]`. An index outside 0..<V reads row 0.
  case gather
  /// `t f32 [n] → [n, dimension]`: the sinusoidal embedding of DDPM as diffusers computes it
  /// (`get_timestep_embedding`: `flip_sin_to_cos`, `downscale_freq_shift`, period 10000).
  case sinusoid(dimension: Int, flipSinToCos: Bool, frequencyShift: Float)
}

/// Stride, padding and what follows a convolution.
public struct Convolution: Hashable, Sendable {
  public var stride: Int
  public var padding: Padding
  public var epilogue: Epilogue
  /// The filters are four phases, and the result is joined as `Op.joinPhases` says. No residual then.
  public var joinsPhases: Bool
  /// The picture is doubled by nearest neighbours first: `[H, W, C]` counts as `[2H, 2W, C]`.
  public var upsamplesInput: Bool

  public init(
    stride: Int = 1, padding: Padding = Padding(0), epilogue: Epilogue = Epilogue(),
    joinsPhases: Bool = false, upsamplesInput: Bool = false
  ) {
    self.upsamplesInput = upsamplesInput
    self.stride = stride
    self.padding = padding
    self.epilogue = epilogue
    self.joinsPhases = joinsPhases
  }

  /// The result's shape before phases are joined.
  public func parts(of result: [Int]) -> [Int] {
    joinsPhases ? [result[0] / 2 + 1, result[1] / 2 + 1, 4 * result[2]] : result
  }
}

/// Zero padding of a picture, in pixels.
public struct Padding: Hashable, Sendable {
  public var top, left, bottom, right: Int

  public init(top: Int, left: Int, bottom: Int, right: Int) {
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }
  public init(_ all: Int) { self.init(top: all, left: all, bottom: all, right: all) }
}

/// What happens to a product before it is stored, in this order: scaling, normalisation, bias, residual, activation.
/// `scaled`, `bias`, `normalized` and `residual` say which optional inputs the node has, in that order after the weight.
public struct Epilogue: Hashable, Sendable {
  /// The product of i8 with i8, times a number f32 [K] for each filter. The result is not of the operands' element type.
  public var scaled: Bool
  public var bias: Bool
  public var residual: Bool
  public var activation: Activation?
  /// Linear layers only: of two neighbouring features the first is multiplied by gelu of the second (GEGLU where the
  /// weights lie in turns, `Fusion.gateProducts`). No residual and no activation then.
  public var gated: Bool
  /// Linear layers only: (product - mean · sums) / deviation, which is the product with a layer norm's result where
  /// sums are those of each filter's weights (`Fusion.foldNorms`).
  public var normalized: Bool

  public init(
    bias: Bool = false, residual: Bool = false, activation: Activation? = nil, gated: Bool = false,
    normalized: Bool = false, scaled: Bool = false
  ) {
    self.scaled = scaled
    self.normalized = normalized
    self.bias = bias
    self.residual = residual
    self.activation = activation
    self.gated = gated
  }

  /// Which of the node's inputs the scale, the bias, the weights' sums and the moments are, where it has them.
  public var scaleIndex: Int? { scaled ? 2 : nil }
  public var biasIndex: Int? { bias ? (scaled ? 3 : 2) : nil }
  public var weightSumsIndex: Int? { normalized ? 2 + (scaled ? 1 : 0) + (bias ? 1 : 0) : nil }
  public var momentsIndex: Int? { weightSumsIndex.map { $0 + 1 } }
}

public enum Activation: String, Hashable, Sendable {
  /// `x·σ(x)`
  case silu
  /// `x·Φ(x)`, with erf
  case gelu
  /// `x·σ(1.702·x)` (CLIP's)
  case quickGelu
  case relu
  case tanh
  case exp
}

public enum Binary: String, Hashable, Sendable { case add, subtract, multiply, divide }
