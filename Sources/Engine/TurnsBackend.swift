/// Several backends of one kind that take frames in turns: each has the whole model, frames are handed to one
/// after the other and come back in the order in which they were begun. A frame takes as long as on one of
/// them, and as many are under way as there are, and one more that is being prepared.
public final class TurnsBackend: Backend {
  public let members: [any Backend]

  /// `members` is not empty.
  public init(_ members: [any Backend]) {
    precondition(!members.isEmpty, "no backend to take turns")
    self.members = members
  }

  public var description: String { members.map(\.description).joined(separator: "; ") }
  public var preferredElement: ElementType { members[0].preferredElement }
  public var wideElement: ElementType {
    let elements = Set(members.map(\.wideElement))
    return elements.count == 1 ? members[0].wideElement : .f32
  }
  public var multipliesInt8: Bool { members.allSatisfy(\.multipliesInt8) }

  /// One after the other: what the first reads of the file, the others find in memory.
  public func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  {
    let share = 1 / Double(members.count)
    let executables = try members.enumerated().map { index, member in
      try member.compile(graph, weights: weights) {
        switch $0 {
        case .kernels(let done): progress(.kernels((Double(index) + done) * share))
        case .weights(let done): progress(.weights((Double(index) + done) * share))
        }
      }
    }
    return TurnsExecutable(executables, graph)
  }
}

/// A graph that several executables run in turns. Settings are written to all of them, a frame's inputs to
/// the one whose turn it is.
final class TurnsExecutable: Executable {
  private let members: [any Executable]
  private let frameInputs: Set<String>
  /// Whose turn it is, and whose outputs are there.
  private var next = 0
  private var finished = 0
  /// Members with a frame that was begun and not finished, oldest first.
  private var underWay: [Int] = []

  init(_ members: [any Executable], _ graph: Graph) {
    self.members = members
    frameInputs = Set(
      graph.nodes.compactMap {
        guard case .input(let name) = $0.op, $0.cadence == .frame else { return nil }
        return name
      })
    underWay.reserveCapacity(depth)
  }

  var depth: Int { members.count - 1 + (members.map(\.depth).min() ?? 1) }

  func write(_ input: String, _ bytes: UnsafeRawBufferPointer) throws {
    if frameInputs.contains(input) { return try members[next].write(input, bytes) }
    for member in members { try member.write(input, bytes) }
  }

  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    if frameInputs.contains(input) { return try members[next].withInput(input, body) }
    return try members[0].withInput(input) { memory in
      let result = try body(memory)
      for member in members.dropFirst() { try member.write(input, UnsafeRawBufferPointer(memory)) }
      return result
    }
  }

  /// The same member again and again: its inputs stay as they are.
  func run() throws {
    try members[next].run()
    finished = next
  }

  func start() throws {
    try members[next].start()
    underWay.append(next)
    next = (next + 1) % members.count
  }

  func finish() throws {
    precondition(!underWay.isEmpty, "no frame is under way")
    // What fails is over too.
    finished = underWay.removeFirst()
    try members[finished].finish()
  }

  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    try members[finished].withOutput(output, body)
  }

  func type(of name: String) -> TensorType? { members[0].type(of: name) }

  /// Of all members together.
  var memory: MemoryUse {
    members.reduce(into: MemoryUse(weights: 0, settings: 0, arena: 0)) {
      let use = $1.memory
      $0.weights += use.weights
      $0.settings += use.settings
      $0.arena += use.arena
    }
  }

  func profile() throws -> [OpTime] { try members[next].profile() }
}
