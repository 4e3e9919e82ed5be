/// Defines what every op means: plain loops over floats, node by node, rounded to the node's element type on
/// store. Slow on purpose; every other backend is tested against it.
public final class ReferenceBackend: Backend {
  public let preferredElement: ElementType

  public init(element: ElementType = .f32) { preferredElement = element }
  public var description: String { "reference, \(preferredElement)" }
  public var multipliesInt8: Bool { true }

  public func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  {
    try ReferenceExecutable(graph, weights: weights, progress: progress)
  }
}

/// A graph that runs one node after the other, each value a `[Float]` of its own.
final class ReferenceExecutable: Executable {
  private let nodes: [Node]
  private let outputs: [String: Value]
  private var inputs: [String: Value] = [:]
  private var values: [[Float]?]
  private var dirty = true
  private var staging: [UInt8] = []
  private var times: [OpTime] = []

  init(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws {
    nodes = graph.nodes
    outputs = Dictionary(graph.outputs.map { ($0.name, $0.value) }) { $1 }
    values = Array(repeating: nil, count: nodes.count)
    for (index, node) in nodes.enumerated() {
      if case .input(let name) = node.op {
        inputs[name] = Value(index: index)
        values[index] = [Float](repeating: 0, count: node.type.count)
      } else if node.cadence == .load {
        values[index] = try load(node, weights)
      }
      progress(.weights(Double(index + 1) / Double(nodes.count)))
    }
  }

  private func load(_ node: Node, _ weights: any WeightSource) throws -> [Float] {
    switch node.op {
    case .constant(let numbers): return numbers
    case .weight(let name):
      guard let found = weights.type(of: name) else { throw EngineError.missingWeight(name) }
      guard found.shape == node.type.shape else {
        throw EngineError.weightShape(name, expected: node.type.shape, found: found.shape)
      }
      let numbers = try weights.withBytes(of: name) { ElementCodec.decode($0, found.element) }
      return numbers.map { ElementCodec.round($0, to: node.type.element) }
    default: return try evaluate(node)
    }
  }

  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    guard let value = inputs[input], let floats = values[value.index] else {
      throw EngineError.unknownName(input)
    }
    let node = nodes[value.index]
    staging = ElementCodec.encode(floats, node.type.element)
    let result = try staging.withUnsafeMutableBytes(body)
    values[value.index] = staging.withUnsafeBytes { ElementCodec.decode($0, node.type.element) }
    if node.cadence == .settings { dirty = true }
    return result
  }

  func run() throws {
    times.removeAll(keepingCapacity: true)
    if dirty { try run(.settings) }
    dirty = false
    try run(.frame)
  }

  private func run(_ cadence: Cadence) throws {
    for (index, node) in nodes.enumerated() where node.cadence == cadence {
      if case .input = node.op { continue }
      let clock = ContinuousClock()
      var result: [Float] = []
      let took = try clock.measure { result = try evaluate(node) }
      values[index] = result
      let inputs = node.inputs.map { nodes[$0.index].type }
      times.append(
        OpTime(
          label: "\(node.op)", node: node, inputs: inputs, seconds: took / .seconds(1),
          operations: Work.operations(of: node, inputs: inputs)))
    }
  }

  private func evaluate(_ node: Node) throws -> [Float] {
    let operands = node.inputs.map {
      Reference.Operand(type: nodes[$0.index].type, floats: values[$0.index] ?? [])
    }
    let result = Reference.evaluate(node.op, operands, node.type)
    return result.map { ElementCodec.round($0, to: node.type.element) }
  }

  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let value = outputs[output], let floats = values[value.index] else {
      throw EngineError.unknownName(output)
    }
    return try ElementCodec.encode(floats, nodes[value.index].type.element).withUnsafeBytes(body)
  }

  func type(of name: String) -> TensorType? {
    (inputs[name] ?? outputs[name]).map { nodes[$0.index].type }
  }

  var memory: MemoryUse {
    func bytes(_ cadence: Cadence) -> Int {
      zip(nodes, values).reduce(0) { $0 + ($1.0.cadence == cadence ? ($1.1?.count ?? 0) * 4 : 0) }
    }
    return MemoryUse(weights: bytes(.load), settings: bytes(.settings), arena: bytes(.frame))
  }

  func profile() throws -> [OpTime] { times }
}
