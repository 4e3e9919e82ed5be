/// The rewritings that make a graph cheaper without changing what it means. Rounding to the element type falls
/// away between fused ops, so results come nearer to exact arithmetic.
public enum Fusion {
  /// All passes, in the order in which they find most. `gates`: whether the backend has gated products.
  public static func run(_ graph: Graph, gates: Bool = false) -> Graph {
    let fused = splitUpsampling(mergeProjections(fuseEpilogues(graph)))
    return gates ? gateProducts(fused) : fused
  }
}
