/// Where weights come from: a checkpoint, or numbers made for a test.
public protocol WeightSource: AnyObject {
  /// Shape and stored element type of a tensor, or nil where there is none of that name.
  func type(of name: String) -> TensorType?
  /// Calls `body` with the tensor's bytes, row-major in `type(of:)`, unaligned. The bytes are valid during
  /// the call only.
  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R
  /// The same, piece by piece in order: `body` gets the place of the piece's first byte too. Pieces are whole elements.
  func withPieces(of name: String, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) throws
}

extension WeightSource {
  public func withPieces(of name: String, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) throws {
    try withBytes(of: name) { try body(0, $0) }
  }
}

/// What a backend does while it compiles, and how much of it is done, 0...1.
public enum CompileProgress: Sendable {
  /// Makes code for this machine: only where it has not been made before.
  case kernels(Double)
  case weights(Double)
}

/// Turns graphs into something that runs.
public protocol Backend: AnyObject {
  /// For people: "CPU, oneDNN 2.6.3, bf16 (AVX512_BF16)".
  var description: String { get }
  /// The element type activations and weights should have for this hardware.
  var preferredElement: ElementType { get }
  /// The element type for parts of a model that leave the range of f16 (65504), such as SDXL's autoencoder.
  var wideElement: ElementType { get }
  /// Whether products of i8 run here.
  var multipliesInt8: Bool { get }
  /// Runs the `load` program and prepares the other two. Weights that an earlier program of this backend
  /// packed from the same source are shared with it.
  func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
}

extension Backend {
  public var wideElement: ElementType { .f32 }
  public var multipliesInt8: Bool { false }
}

/// A compiled graph with its memory. Not for two threads at once.
public protocol Executable: AnyObject {
  /// Copies `bytes` to the input; its size must be the input's. Settings inputs make what depends on them
  /// run again before the next frame.
  func write(_ input: String, _ bytes: UnsafeRawBufferPointer) throws
  /// The memory of an input, to be filled in place before `run` (saves a copy in the frame path).
  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R
  /// Runs what changed of the settings program, then the frame program. Allocates nothing.
  func run() throws
  /// How many frames may be under way: more than 1 where one can be begun before the last is finished.
  var depth: Int { get }
  /// `run` in two: begins a frame with what the inputs hold now. Inputs written after belong to the next; while one is
  /// under way, all of the next one's inputs of frames have to be written.
  func start() throws
  /// Waits for the oldest frame that was begun; outputs are its own until the next `start` or `finish`.
  func finish() throws
  /// The memory of an output of the last run, or of the frame that was finished last; it stays as it is until the next
  /// `run`, `start` or `finish`.
  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R
  /// Type of an input or output.
  func type(of name: String) -> TensorType?
  /// Bytes held: packed weights, persistent values and arena.
  var memory: MemoryUse { get }
  /// Runs the settings and frame programs once with a clock around each op (`ReferenceExecutable`: the times of the last
  /// `run`), in the order they ran.
  func profile() throws -> [OpTime]
}

extension Executable {
  public func write(_ input: String, _ bytes: UnsafeRawBufferPointer) throws {
    try withInput(input) { memory in
      guard memory.count == bytes.count else {
        throw EngineError.byteCount(input, expected: memory.count, found: bytes.count)
      }
      memory.copyMemory(from: bytes)
    }
  }
  public var depth: Int { 1 }
  public func start() throws {}
  public func finish() throws { try run() }
}

/// Bytes a compiled graph holds.
public struct MemoryUse: Sendable {
  public var weights, settings, arena: Int
  public init(weights: Int, settings: Int, arena: Int) {
    (self.weights, self.settings, self.arena) = (weights, settings, arena)
  }
}

/// What one op took, with the work it did.
public struct OpTime: Sendable {
  public var label: String
  /// The part of the model that it belongs to, as `Graph.inStage` named it.
  public var stage: String
  public var cadence: Cadence
  /// What it multiplies, which decides how fast a machine can be.
  public var element: ElementType
  public var seconds: Double
  /// Floating-point operations, two for each multiply-add.
  public var operations: Double
  public var byteCount: Int
  /// The time of `node`, whose operands have the types `inputs`; `element` where it multiplies something else than them.
  public init(
    label: String, node: Node, inputs: [TensorType], seconds: Double, operations: Double,
    element: ElementType? = nil
  ) {
    self.label = label
    stage = node.stage
    cadence = node.cadence
    self.element = element ?? (inputs.first ?? node.type).element
    self.seconds = seconds
    self.operations = operations
    byteCount = inputs.reduce(node.type.byteCount) { $0 + $1.byteCount }
  }
}
