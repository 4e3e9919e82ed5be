extension Fusion {
  /// Folds what follows a product into its epilogue: a vector added becomes bias (at the vector's own
  /// cadence: the time embedding costs nothing in the frame), a tensor added becomes residual, then the
  /// activation. An activation after a group norm becomes the norm's.
  public static func fuseEpilogues(_ graph: Graph) -> Graph {
    Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      switch node.op {
      case .binary(.add): return fuseBias(rewrite, node) ?? fuseResidual(rewrite, node)
      case .activation(let activation): return fuseActivation(rewrite, node, activation)
      default: return nil
      }
    }
  }

  private static func fuseBias(_ rewrite: Rewrite, _ node: Node) -> Value? {
    let graph = rewrite.new
    let (wide, narrow) = (rewrite.image(node.inputs[0]), rewrite.image(node.inputs[1]))
    let channels = node.type.columns
    guard rewrite.isReadOnce(node.inputs[0]), let product = Product(graph[wide]),
      product.residual == nil, product.epilogue.activation == nil,
      graph.type(narrow).count == channels, graph.type(narrow).columns == channels,
      graph[narrow].cadence < graph[wide].cadence
    else { return nil }
    let vector = graph.reshape(graph.cast(narrow, .f32), [channels])
    let bias = product.bias.map { graph.add(graph.cast($0, .f32), vector) } ?? vector
    return product.write(graph, bias: bias, residual: nil, activation: nil)
  }

  /// Of two products the later one takes the other as residual: nothing has to wait for it.
  private static func fuseResidual(_ rewrite: Rewrite, _ node: Node) -> Value? {
    let graph = rewrite.new
    let pairs = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]
    for (a, b) in pairs.sorted(by: { rewrite.image($0.0).index > rewrite.image($1.0).index }) {
      guard rewrite.isReadOnce(a), let product = Product(graph[rewrite.image(a)]),
        product.residual == nil, product.epilogue.activation == nil,
        graph.type(rewrite.image(a)) == node.type, graph.type(rewrite.image(b)) == node.type,
        graph[rewrite.image(a)].cadence == node.cadence
      else { continue }
      return product.write(graph, bias: product.bias, residual: rewrite.image(b), activation: nil)
    }
    return nil
  }

  private static func fuseActivation(_ rewrite: Rewrite, _ node: Node, _ activation: Activation) -> Value? {
    guard rewrite.isReadOnce(node.inputs[0]) else { return nil }
    let operand = rewrite.new[rewrite.image(node.inputs[0])]
    if case .groupNorm(let groups, let epsilon, nil) = operand.op {
      let op = Op.groupNorm(groups: groups, epsilon: epsilon, activation: activation)
      return rewrite.new.inStage(operand.stage) { rewrite.new.add(op, operand.inputs, operand.type) }
    }
    guard let product = Product(operand), product.epilogue.activation == nil else { return nil }
    return product.write(
      rewrite.new, bias: product.bias, residual: product.residual, activation: activation)
  }
}
