/// What happens to a product before it is stored, in this order: scaling, normalisation, bias, residual,
/// activation. `scaled`, `bias`, `normalized` and `residual` say which optional inputs the node has, in that
/// order after the weight.
public struct Epilogue: Hashable, Sendable {
  /// The product of i8 with i8, times a number f32 [K] for each filter. The result is not of the operands'
  /// element type.
  public var scaled: Bool
  public var bias: Bool
  public var residual: Bool
  public var activation: Activation?
  /// Linear layers only: of two neighbouring features the first is multiplied by gelu of the second (GEGLU
  /// where the weights lie in turns, `Fusion.gateProducts`). No residual and no activation then.
  public var gated: Bool
  /// Linear layers only: (product - mean · sums) / deviation, which is the product with a layer norm's result
  /// where sums are those of each filter's weights (`Fusion.foldNorms`).
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

  /// Which of the node's inputs the scale, the bias, the weights' sums and the moments are, where it has
  /// them.
  public var scaleIndex: Int? { scaled ? 2 : nil }
  public var biasIndex: Int? { bias ? (scaled ? 3 : 2) : nil }
  public var weightSumsIndex: Int? { normalized ? 2 + (scaled ? 1 : 0) + (bias ? 1 : 0) : nil }
  public var momentsIndex: Int? { weightSumsIndex.map { $0 + 1 } }
}

/// A function of one number.
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
