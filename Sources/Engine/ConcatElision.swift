/// Concatenations along the last dimension that nobody has to run: what makes each part writes it where it
/// belongs, between the other parts' columns.
struct ConcatElision {
  /// Where parts, and the reshapes of them that are concatenated, lie.
  private(set) var places: [Value: Layout] = [:]
  /// The values that write parts.
  private(set) var writers: Set<Value> = []
  /// The concatenations that are made so.
  private(set) var results: Set<Value> = []

  /// Rows of parts begin at multiples of this many bytes, which is what kernels read at a time.
  private static let alignment = 16

  private let graph: Graph
  private let readers: StridedReaders

  init(_ graph: Graph, live: Liveness, readers: StridedReaders) {
    self.graph = graph
    self.readers = readers
    for index in graph.nodes.indices where live.isLive[index] { assemble(Value(index: index)) }
  }

  /// All parts or none: a part that has to be copied costs as much as copying all.
  private mutating func assemble(_ result: Value) {
    let node = graph[result]
    guard case .concat(let axis) = node.op, axis == node.type.shape.count - 1, node.cadence == .frame,
      node.type.columns * node.type.element.byteCount % Self.alignment == 0
    else { return }
    let chains = node.inputs.map { chain(to: $0) }
    let makers = chains.compactMap(\.last)
    guard makers.count == node.inputs.count, Set(makers).count == makers.count else { return }
    var offset = 0
    for chain in chains {
      let part = graph.type(chain[0])
      guard chain.allSatisfy(mayLieApart), offset * part.element.byteCount % Self.alignment == 0 else {
        return
      }
      offset += part.columns
    }
    guard makers.allSatisfy(mayWrite) else { return }
    offset = 0
    for chain in chains {
      for value in chain {
        places[value] = Layout(root: result, offset: offset, rowStride: node.type.columns)
      }
      offset += graph.type(chain[0]).columns
    }
    writers.formUnion(makers)
    results.insert(result)
  }

  /// The part, and what it is a reshape of, back to what makes it.
  private func chain(to part: Value) -> [Value] {
    var values = [part]
    while let last = values.last, let source = graph[last].inputs.first,
      graph[last].keepsRows(of: graph.type(source))
    {
      values.append(source)
    }
    return values
  }

  private func mayWrite(_ value: Value) -> Bool {
    switch graph[value].op {
    case .input, .weight, .constant, .slice, .reshape, .concat: return false
    default: return readers.rules.writesStrided(graph[value])
    }
  }

  /// Only this program reads the value, rows apart, and it has no place yet.
  private func mayLieApart(_ value: Value) -> Bool {
    graph[value].cadence == .frame && places[value] == nil && readers.allow(value)
  }
}
