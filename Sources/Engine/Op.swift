/// One operation of the graph. `Reference` defines what each means; a backend must agree with it.
///
/// Legend: `H W` height and width, `R S` those of a kernel, `C K` channels in and out, `T S` sequence
/// lengths, `D` width of a token or of a head. Shapes are those of `TensorType`. Arithmetic is f32 inside an
/// op whatever is stored.
public enum Op: Hashable, Sendable {
  // MARK: Sources

  /// A value the caller writes; its cadence is part of the node.
  case input(String)
  /// A tensor of the checkpoint, in the checkpoint's own shape, converted to the node's element type.
  case weight(String)
  /// A literal, row-major. For small tables only.
  case constant([Float])

  // MARK: Layers

  /// `[H, W, C], weight [K, R, S, C], scaled: scale [K], bias? [K], residual? [H', W', K] → [H', W', K]`,
  /// where H' = ⌊(H + top + bottom - R)/stride⌋ + 1 and W' = ⌊(W + left + right - S)/stride⌋ + 1. At (y, x)
  /// filter k gives the sum of input[stride·y + r - top, stride·x + s - left, c]·weight[k, r, s, c], outside
  /// the picture 0: PyTorch's conv2d. Where it `upsamplesInput`, H and W count twice; where it `joinsPhases`,
  /// the result is `[2(H' - 1), 2(W' - 1), K/4]`.
  case convolution(Convolution)
  /// `[..., C], weight [K, C], scaled: scale [K], bias? [K], normalized: sums f32 [K], moments f32 [..., 2],
  /// residual? [..., K] → [..., K]`; gated: `→ [..., K/2]`
  case linear(Epilogue)
  /// `[..., C], gain [C], shift [C] → [..., C]`: (x - mean)/√(variance + ε)·gain + shift, then the
  /// activation; mean and variance (of all members, not one less) over all leading positions and C/groups
  /// neighbouring channels (Wu and He 2018, arXiv 1803.08494).
  /// Where a norm's or geglu's result is i8, a last operand, factors f32 [C], quantizes it as `quantize`
  /// says.
  case groupNorm(groups: Int, epsilon: Float, activation: Activation?)
  /// `[..., C], gain [C], shift [C] → [..., C]`: the same over the last dimension (Ba, Kiros and Hinton 2016,
  /// arXiv 1607.06450).
  case layerNorm(epsilon: Float)
  /// `[..., C] → f32 [..., 2]`: mean and 1/√(variance + ε) over the last dimension, what a normalized product
  /// needs.
  case moments(epsilon: Float)
  /// `q [T, heads·D], k [S, heads·D], v [S, heads·D] → [T, heads·D]`: softmax(q·kᵀ·scale)·v for each head,
  /// which has neighbouring columns (Vaswani et al. 2017, arXiv 1706.03762). `causal` masks keys after the
  /// query's position.
  case attention(heads: Int, scale: Float, causal: Bool)

  // MARK: Elementwise

  case activation(Activation)
  /// `[..., 2C] → [..., C]`: the first half times gelu of the second (GEGLU, Shazeer 2020, arXiv 2002.05202,
  /// as diffusers orders it).
  case geglu
  /// Two inputs of the same element type; the second's shape broadcasts to the first's as in NumPy.
  case binary(Binary)
  /// `x·scale + offset`, stored as the node's element type; u8 input gives 0...255.
  case affine(scale: Float, offset: Float)
  /// `round(clamp(x·scale + offset, 0, 255))` as u8; halves round to even, NaN gives 0.
  case quantizePixels(scale: Float, offset: Float)
  /// Clamps to `low...high`.
  case clamp(low: Float, high: Float)
  /// `[..., C], factors f32 [C] → i8 [..., C]`: round(clamp(x·factor, -127, 127)); halves round to even, NaN
  /// gives 0.
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
  /// `[H+1, W+1, 4K] → [2H, 2W, K]`: pixel (2y+a, 2x+b) is channels (2a+b)·K... of position (y+a, x+b). What
  /// an up-sampling convolution leaves when it is computed in four phases (`Fusion.splitUpsampling` writes
  /// it).
  case joinPhases
  /// `table [V, D], index i32 [T] → [T, D]`. An index outside 0..<V reads row 0.
  case gather
  /// `t f32 [n] → [n, dimension]`: the sinusoidal embedding of DDPM as diffusers computes it
  /// (`get_timestep_embedding`: `flip_sin_to_cos`, `downscale_freq_shift`, period 10000).
  case sinusoid(dimension: Int, flipSinToCos: Bool, frequencyShift: Float)
}

/// What two numbers become.
public enum Binary: String, Hashable, Sendable { case add, subtract, multiply, divide }
