extension Fusion {
  /// A linear layer whose result only goes through GEGLU multiplies at once. Value and gate must meet in one
  /// place for that: the weights' rows, first all values and then all gates, are laid in turns when the model
  /// is opened.
  static func gateProducts(_ graph: Graph, _ gates: (Graph, _ source: Value, _ weight: Value) -> Bool)
    -> Graph
  {
    Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      guard case .geglu = node.op, node.inputs.count == 1, rewrite.isReadOnce(node.inputs[0]) else {
        return nil
      }
      let new = rewrite.new
      let product = new[rewrite.image(node.inputs[0])]
      guard case .linear(let epilogue) = product.op, epilogue == Epilogue(bias: epilogue.bias),
        new[product.inputs[1]].cadence == .load,
        gates(new, product.inputs[0], product.inputs[1])
      else { return nil }
      if epilogue.bias, new[product.inputs[2]].cadence != .load { return nil }
      let operands = [product.inputs[0]] + product.inputs.dropFirst().map { inTurns($0, new) }
      return new.inStage(product.stage) {
        new.add(.linear(Epilogue(bias: epilogue.bias, gated: true)), operands, node.type)
      }
    }
  }

  /// `[2K, ...]` with entry i beside entry K + i.
  private static func inTurns(_ x: Value, _ graph: Graph) -> Value {
    let shape = graph.shape(x)
    let rest = Array(shape.dropFirst())
    let halves = graph.reshape(x, [2, shape[0] / 2] + rest)
    let order = [1, 0] + rest.indices.map { $0 + 2 }
    return graph.reshape(graph.transpose(halves, order), shape)
  }
}
