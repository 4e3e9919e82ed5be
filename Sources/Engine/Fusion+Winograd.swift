extension Fusion {
  /// Minimal filtering F(4x4, 3x3) (Lavin and Gray 2015, arXiv 1509.09308): 36 products where a plain convolution takes
  /// 144, all in f32, because transforms subtract what is nearly equal. Its weights are four times as many, so it is
  /// for pictures large enough that each is used often, and for small weights unless values are f32 too.
  static func useWinograd(_ graph: Graph, inHalf: Bool) -> Graph {
    Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      guard node.cadence == .frame, case .convolution(let settings) = node.op,
        isWorthwhile(node, settings, rewrite.old, inHalf: inHalf)
      else { return nil }
      let operands = node.inputs.map(rewrite.image)
      let weights = winogradWeights(operands[1], rewrite.new)
      return rewrite.new.add(.winograd(settings), [operands[0], weights] + operands[2...], node.type)
    }
  }

  /// Tiles below which moving the weights takes longer than what they save; the same for weights of more bytes than
  /// stay in a cache.
  private static let fewestTiles = 64
  private static let fewestTilesOfLarge = 256
  private static let largeWeights = 4 << 20

  private static func isWorthwhile(_ node: Node, _ settings: Convolution, _ graph: Graph, inHalf: Bool)
    -> Bool
  {
    let (weight, element) = (graph.type(node.inputs[1]).shape, node.type.element)
    guard settings.stride == 1, weight[1...2] == [3, 3], !settings.joinsPhases, !settings.epilogue.scaled,
      graph[node.inputs[1]].cadence == .load, graph.type(node.inputs[0]).element == element,
      weight[0] % 16 == 0, weight[3] % 16 == 0, element == .f32 || (element == .bf16 && inHalf)
    else { return false }
    let tiles = Work.tiles(of: node.type.shape)
    guard 36 * 4 * weight[0] * weight[3] > largeWeights else { return tiles >= fewestTiles }
    return element == .f32 && tiles >= fewestTilesOfLarge
  }

  /// `[K, 3, 3, C]` → G g Gᵀ as f32 `[36, K/16, C, 16]`.
  private static func winogradWeights(_ weight: Value, _ graph: Graph) -> Value {
    let shape = graph.shape(weight)
    let (filters, channels) = (shape[0], shape[3])
    let taps = graph.reshape(
      graph.transpose(inFloats(weight, graph), [0, 3, 1, 2]), [filters * channels, 9])
    // Row by row of the 6x6 result, over the 3x3 taps row by row.
    let both = winogradFilter.flatMap { a in
      winogradFilter.flatMap { b in a.flatMap { x in b.map { x * $0 } } }
    }
    let transformed = graph.linear(taps, weight: graph.constant(both, [36, 9]))
    let panels = graph.reshape(transformed, [filters / 16, 16, channels, 36])
    return graph.transpose(panels, [3, 0, 2, 1])
  }

  /// G.
  private static let winogradFilter: [[Float]] = [
    [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
  ]
}
