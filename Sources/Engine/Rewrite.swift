/// Copies a graph node by node, letting a rule put something else in a node's place.
///
/// The copy goes through `Graph.add`, so equal nodes merge; dead nodes are not copied.
struct Rewrite {
  /// The graph that is read, with those who read its values.
  let old: Graph
  private let live: Liveness
  private let outputs: Set<Value>
  /// The graph that is written.
  let new = Graph()
  private var images: [Value?]

  /// A graph with the same inputs and outputs. `rule` gives the new value for an old node whose operands have
  /// been rewritten, or nil to copy it.
  static func run(_ graph: Graph, _ rule: (Rewrite, Value) -> Value?) -> Graph {
    var rewrite = Rewrite(graph)
    for (index, node) in graph.nodes.enumerated() where rewrite.live.isLive[index] {
      let value = Value(index: index)
      rewrite.images[index] = rewrite.new.inStage(node.stage) {
        rule(rewrite, value) ?? rewrite.copy(node)
      }
    }
    for output in graph.outputs { rewrite.new.output(output.name, rewrite.image(output.value)) }
    return rewrite.new
  }

  private init(_ graph: Graph) {
    old = graph
    live = Liveness(graph)
    outputs = Set(graph.outputs.map(\.value))
    images = Array(repeating: nil, count: graph.nodes.count)
  }

  /// What an old value became.
  func image(_ value: Value) -> Value {
    guard let image = images[value.index] else { preconditionFailure("read before it was written") }
    return image
  }

  private func copy(_ node: Node) -> Value {
    var floor = Cadence.load
    if case .input = node.op { floor = node.cadence }
    return new.add(node.op, node.inputs.map(image), node.type, floor: floor)
  }

  /// Whether exactly one node, and no output, reads an old value.
  func isReadOnce(_ value: Value) -> Bool {
    live.consumers[value.index].count == 1 && !outputs.contains(value)
  }
}

/// What a product (a convolution or a linear layer) is made of.
struct Product {
  var node: Node
  var epilogue: Epilogue

  init?(_ node: Node) {
    self.node = node
    switch node.op {
    case .convolution(let convolution): epilogue = convolution.epilogue
    case .linear(let epilogue): self.epilogue = epilogue
    default: return nil
    }
  }

  var scale: Value? { epilogue.scaleIndex.map { node.inputs[$0] } }
  var bias: Value? { epilogue.biasIndex.map { node.inputs[$0] } }
  var residual: Value? { epilogue.residual ? node.inputs.last : nil }

  /// The product with another epilogue (a plain one, as models have it), written into `graph`. It stays of
  /// its own stage, whatever came after it.
  func write(_ graph: Graph, bias: Value?, residual: Value?, activation: Activation?) -> Value {
    let epilogue = Epilogue(
      bias: bias != nil, residual: residual != nil, activation: activation, scaled: self.epilogue.scaled)
    let operands = node.inputs.prefix(2) + [scale, bias, residual].compactMap { $0 }
    return graph.inStage(node.stage) {
      switch node.op {
      case .convolution(var convolution):
        convolution.epilogue = epilogue
        return graph.add(.convolution(convolution), Array(operands), node.type)
      default: return graph.add(.linear(epilogue), Array(operands), node.type)
      }
    }
  }
}
