/// What load values are made of, so that programs compiled from the same source share them.
///
/// Two load values are the same where their ops, types and operands are; a packed form adds its layout.
/// Buffers (a backend's own) are held weakly: they live as long as a program that uses them. For one thread
/// at a time.
public final class WeightCache<Buffer: AnyObject> {
  /// A load value by structure.
  private struct Expression: Hashable {
    var op: Op
    var type: TensorType
    var operands: [Int]
  }
  /// A form of a load value.
  public struct Key: Hashable {
    var expression: Int
    /// Bytes of the layout; empty for the plain value.
    var layout: [UInt8]

    public init(expression: Int, layout: [UInt8] = []) {
      self.expression = expression
      self.layout = layout
    }
  }
  private struct Weak { weak var buffer: Buffer? }

  private weak var source: (any WeightSource)?
  private var numbers: [Expression: Int] = [:]
  private var buffers: [Key: Weak] = [:]

  public init(_ source: any WeightSource) { self.source = source }

  func belongs(to other: any WeightSource) -> Bool { source.map { $0 === other } ?? false }
  var isOrphan: Bool { source == nil }

  /// The number of each load value of a graph.
  public func number(_ graph: Graph) -> [Int] {
    var result: [Int] = []
    for node in graph.nodes {
      guard node.cadence == .load else {
        result.append(-1)
        continue
      }
      let expression = Expression(
        op: node.op, type: node.type, operands: node.inputs.map { result[$0.index] })
      let number = numbers[expression] ?? numbers.count
      numbers[expression] = number
      result.append(number)
    }
    return result
  }

  /// The buffer of a form and whether it is filled already; `make` makes one that is not there.
  public func buffer(_ key: Key, make: () throws -> Buffer) rethrows -> (buffer: Buffer, isFilled: Bool) {
    if let buffer = buffers[key]?.buffer { return (buffer, true) }
    let buffer = try make()
    buffers[key] = Weak(buffer: buffer)
    return (buffer, false)
  }

  /// Forgets a buffer whose filling failed, and those that nobody uses any more.
  public func forget(_ keys: [Key]) {
    for key in keys { buffers[key] = nil }
    buffers = buffers.filter { $0.value.buffer != nil }
  }
}

/// A backend's caches, one for each source of weights that is still there.
public struct WeightCaches<Buffer: AnyObject> {
  private var caches: [WeightCache<Buffer>] = []

  public init() {}

  /// The source's cache, a new one where it has none.
  public mutating func cache(of source: any WeightSource) -> WeightCache<Buffer> {
    caches.removeAll(where: \.isOrphan)
    if let cache = caches.first(where: { $0.belongs(to: source) }) { return cache }
    let cache = WeightCache<Buffer>(source)
    caches.append(cache)
    return cache
  }
}
