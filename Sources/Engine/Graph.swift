/// A value of a graph: the result of one node.
public struct Value: Hashable, Sendable {
  public let index: Int
  public init(index: Int) { self.index = index }
}

/// One node of a graph: an operation, what it reads, and what it gives.
public struct Node: Hashable, Sendable {
  public var op: Op
  public var inputs: [Value]
  public var type: TensorType
  public var cadence: Cadence
  /// The part of the model that it was first written in, for profiles. Nodes that compute the same are equal
  /// whatever part they belong to.
  public var stage: String

  public static func == (a: Node, b: Node) -> Bool {
    a.op == b.op && a.inputs == b.inputs && a.type == b.type && a.cadence == b.cadence
  }
  public func hash(into hasher: inout Hasher) {
    hasher.combine(op)
    hasher.combine(inputs)
    hasher.combine(type)
    hasher.combine(cadence)
  }
}

/// A model, written once as a list of nodes in an order in which they can run.
///
/// Writing the same operation on the same values twice gives the first value again (hash-consing), so
/// weights shared by several steps, or keys and values that depend on the prompt alone, are computed once
/// without anybody hoisting them by hand.
public final class Graph {
  public private(set) var nodes: [Node] = []
  /// Named results, in the order they were declared.
  public private(set) var outputs: [(name: String, value: Value)] = []
  private var known: [Node: Value] = [:]
  /// What new nodes belong to.
  private var stage = ""

  public init() {}

  public subscript(value: Value) -> Node { nodes[value.index] }
  public func type(_ value: Value) -> TensorType { nodes[value.index].type }
  public func shape(_ value: Value) -> [Int] { nodes[value.index].type.shape }

  /// Adds a node, or finds the one that is already there. The cadence is the fastest of the inputs',
  /// at least `floor`.
  public func add(_ op: Op, _ inputs: [Value], _ type: TensorType, floor: Cadence = .load) -> Value {
    let cadence = inputs.reduce(floor) { max($0, nodes[$1.index].cadence) }
    let node = Node(op: op, inputs: inputs, type: type, cadence: cadence, stage: stage)
    if let value = known[node] { return value }
    let value = Value(index: nodes.count)
    nodes.append(node)
    known[node] = value
    return value
  }

  /// Nodes that `body` adds belong to this part of the model ("unet"): a profile tells times by it.
  public func inStage<R>(_ name: String, _ body: () throws -> R) rethrows -> R {
    let outer = stage
    stage = name
    defer { stage = outer }
    return try body()
  }

  /// Names a result that the caller can read.
  public func output(_ name: String, _ value: Value) { outputs.append((name, value)) }
}
