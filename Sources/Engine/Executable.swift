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
  /// `run` in two: begins a frame with what the inputs hold now. Inputs written after belong to the next;
  /// while one is under way, all of the next one's inputs of frames have to be written.
  func start() throws
  /// Waits for the oldest frame that was begun; outputs are its own until the next `start` or `finish`.
  func finish() throws
  /// The memory of an output of the last run, or of the frame that was finished last; it stays as it is until
  /// the next `run`, `start` or `finish`.
  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R
  /// Type of an input or output.
  func type(of name: String) -> TensorType?
  /// Bytes held: packed weights, persistent values and arena.
  var memory: MemoryUse { get }
  /// Runs the settings and frame programs once with a clock around each op (`ReferenceExecutable`: the times
  /// of the last `run`), in the order they ran.
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
