extension Fusion {
  /// Queries, keys and values that are linear in the same tokens become one product with the weights below
  /// each other (joined when the model is opened), and attention reads slices of it.
  public static func mergeProjections(_ graph: Graph) -> Graph {
    Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      guard case .attention = node.op else { return nil }
      let operands = node.inputs.map { (old: $0, new: rewrite.image($0)) }
      guard Set(operands.map(\.old)).count == 3, operands.allSatisfy({ rewrite.isReadOnce($0.old) }) else {
        return nil
      }
      let products = operands.compactMap { Product(rewrite.new[$0.new]) }
      guard let merged = merge(products, rewrite.new) else { return nil }
      let width = node.type.columns
      let slices = operands.indices.map {
        rewrite.new.slice(merged, axis: 1, start: $0 * width, count: width)
      }
      return rewrite.new.add(node.op, slices, node.type)
    }
  }

  /// One product for three, or nil where they do not go together.
  private static func merge(_ products: [Product], _ graph: Graph) -> Value? {
    guard products.count == 3, let first = products.first else { return nil }
    let plain = Epilogue(bias: first.epilogue.bias, scaled: first.epilogue.scaled)
    let fits = products.allSatisfy {
      guard case .linear = $0.node.op else { return false }
      return $0.node.inputs[0] == first.node.inputs[0] && $0.epilogue == plain
        && $0.node.type == first.node.type && graph[$0.node.inputs[1]].cadence == .load
        && graph.type($0.node.inputs[1]).element == graph.type(first.node.inputs[1]).element
        && ($0.bias.map { graph[$0].cadence == .load } ?? true)
    }
    guard fits else { return nil }
    let weight = graph.concat(products.map { $0.node.inputs[1] }, axis: 0)
    let biases = products.compactMap(\.bias).map { graph.cast($0, .f32) }
    let bias = biases.isEmpty ? nil : graph.concat(biases, axis: 0)
    let scales = products.compactMap(\.scale)
    if !scales.isEmpty {
      return graph.linear(
        first.node.inputs[0], weight: weight, scale: graph.concat(scales, axis: 0), bias: bias,
        element: first.node.type.element)
    }
    return graph.linear(first.node.inputs[0], weight: weight, bias: bias)
  }
}
