/// The rewritings that make a graph cheaper without changing what it means. Rounding to the element type
/// falls away between fused ops, so results come nearer to exact arithmetic.
public enum Fusion {
  /// What a backend's products can do at their end, beside bias, residual and activation.
  public struct Endings: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// `Epilogue.gated`.
    public static let gated = Endings(rawValue: 1)
    /// `Convolution.joinsPhases`.
    public static let joined = Endings(rawValue: 2)
    /// `Epilogue.normalized`.
    public static let normalized = Endings(rawValue: 4)
  }

  /// All passes, in the order in which they find most. `gates` tells whether a product of such a source and
  /// such weights can be gated, `upsamplesInput` whether a convolution of such a picture, with such weights,
  /// can double it itself.
  public static func run(
    _ graph: Graph, endings: Endings = [],
    gates: (Graph, _ source: Value, _ weight: Value) -> Bool = { _, _, _ in true },
    upsamplesInput: (_ convolution: Node, _ picture: TensorType, _ weight: Node) -> Bool = { _, _, _ in false
    }
  ) -> Graph {
    var fused = quantizeAtOnce(
      splitUpsampling(mergeProjections(fuseEpilogues(graph)), upsamplesInput: upsamplesInput))
    if endings.contains(.gated) { fused = gateProducts(fused, gates) }
    if endings.contains(.joined) { fused = joinProducts(fused) }
    if endings.contains(.normalized) { fused = foldNorms(fused) }
    return fused
  }
}
