/// Where a value's elements lie: in its own memory, or somewhere in another value's.
///
/// A value is rows of contiguous elements (its last dimension) that are `rowStride` elements apart. Values
/// that own memory are dense: `rowStride` is the last dimension.
public struct Layout: Hashable, Sendable {
  /// The value whose memory it is.
  public var root: Value
  /// Elements before the first.
  public var offset: Int
  /// Elements from one row to the next.
  public var rowStride: Int

  public init(root: Value, offset: Int = 0, rowStride: Int) {
    self.root = root
    self.offset = offset
    self.rowStride = rowStride
  }
}

extension TensorType {
  /// Length of a row: the last dimension.
  public var columns: Int { shape.last ?? 1 }
  /// Number of rows.
  public var rows: Int { shape.dropLast().reduce(1, *) }
}

/// What a backend's ops can do about memory.
public struct LayoutRules: Sendable {
  /// Whether the node can read operand `index` where its rows are not dense.
  public var readsStrided: @Sendable (_ node: Node, _ index: Int) -> Bool
  /// Whether the node can write its result where rows are not dense.
  public var writesStrided: @Sendable (_ node: Node) -> Bool
  /// Operands whose memory the result may take where nobody reads them later, best first.
  public var overwrites: @Sendable (_ node: Node) -> [Int]

  public init(
    readsStrided: @escaping @Sendable (Node, Int) -> Bool,
    writesStrided: @escaping @Sendable (Node) -> Bool = { _ in false },
    overwrites: @escaping @Sendable (Node) -> [Int]
  ) {
    self.readsStrided = readsStrided
    self.writesStrided = writesStrided
    self.overwrites = overwrites
  }

  /// What works element by element, or adds to its residual, may write over it.
  public static let inPlace: @Sendable (Node) -> [Int] = { node in
    switch node.op {
    case .activation, .clamp, .groupNorm, .layerNorm, .binary, .affine, .cast: return [0]
    case .convolution(let convolution):
      return convolution.epilogue.residual ? [node.inputs.count - 1] : []
    case .linear(let epilogue): return epilogue.residual ? [node.inputs.count - 1] : []
    default: return []
    }
  }

  /// Copies where it could look, and never writes over an operand.
  public static let plain = LayoutRules(readsStrided: { _, _ in false }, overwrites: { _ in [] })
}

/// Finds the values that are only another look at memory that is there already.
struct LayoutPass {
  let graph: Graph
  let readers: StridedReaders
  let elision: ConcatElision

  /// Layout of every value. A slice or reshape that owns memory is to be copied.
  func run() -> [Layout] {
    var layouts: [Layout] = []
    for (index, node) in graph.nodes.enumerated() {
      let value = Value(index: index)
      let own = Layout(root: value, rowStride: node.type.columns)
      layouts.append(elision.places[value] ?? view(value, node, layouts) ?? own)
    }
    return layouts
  }

  private func view(_ value: Value, _ node: Node, _ layouts: [Layout]) -> Layout? {
    guard let source = node.inputs.first, node.cadence == graph[source].cadence else { return nil }
    let (type, layout) = (graph.type(source), layouts[source.index])
    let dense = layout.rowStride == type.columns
    switch node.op {
    case .reshape:
      if dense { return Layout(root: layout.root, offset: layout.offset, rowStride: node.type.columns) }
      return node.keepsRows(of: type) && readers.allow(value) ? layout : nil
    case .slice(let axis, let start, _):
      let isLast = axis == type.shape.count - 1
      let inner = type.shape[(axis + 1)...].reduce(1, *)
      guard type.shape[..<axis].allSatisfy({ $0 == 1 }) else {
        guard isLast, readers.allow(value) else { return nil }
        return Layout(root: layout.root, offset: layout.offset + start, rowStride: layout.rowStride)
      }
      if isLast {
        return Layout(root: layout.root, offset: layout.offset + start, rowStride: node.type.columns)
      }
      guard dense || readers.allow(value) else { return nil }
      let rows = inner / type.columns
      return Layout(
        root: layout.root, offset: layout.offset + start * rows * layout.rowStride,
        rowStride: layout.rowStride)
    default: return nil
    }
  }
}

extension Node {
  /// Whether this is a reshape that leaves the last dimension as it is: rows stay rows, wherever they lie.
  func keepsRows(of source: TensorType) -> Bool {
    guard case .reshape = op else { return false }
    return type.columns == source.columns
  }
}

/// Who can read rows that are not dense.
struct StridedReaders {
  let graph: Graph
  let consumers: [[(node: Value, operand: Int)]]
  let outputs: Set<Value>
  let rules: LayoutRules

  /// Whether nobody who reads the value, itself or through reshapes that leave rows as they are, needs it
  /// dense.
  func allow(_ value: Value) -> Bool {
    !outputs.contains(value)
      && consumers[value.index].allSatisfy { reader, operand in
        let node = graph[reader]
        return node.keepsRows(of: graph.type(value)) ? allow(reader) : rules.readsStrided(node, operand)
      }
  }
}
