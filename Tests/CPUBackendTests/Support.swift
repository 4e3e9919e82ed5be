import CPUBackend
import Engine
import Testing

/// A small generator with a seed, so that a failing case can be run again (SplitMix64, Steele et al. 2014).
struct Dice: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
  mutating func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
  mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in Float.random(in: range, using: &self) }
  }
}

/// Element types that products can be tested in on this machine.
let productElements: [ElementType] = CPUBackend.runsBfloat16 ? [.f32, .bf16] : [.f32]

/// Weights drawn for a test, stored in any element type.
final class DrawnWeights: WeightSource {
  private var tensors: [String: (type: TensorType, bytes: [UInt8])] = [:]
  private(set) var released: [String: Int] = [:]

  func set(_ name: String, _ shape: [Int], _ element: ElementType, _ floats: [Float]) {
    tensors[name] = (TensorType(shape, element), ElementCodec.encode(floats, element))
  }
  func type(of name: String) -> TensorType? { tensors[name]?.type }
  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let tensor = tensors[name] else { throw EngineError.missingWeight(name) }
    // One byte off, as a tensor in a file may lie.
    return try ([0] + tensor.bytes).withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[1...])) }
  }
  func release(_ name: String) { released[name, default: 0] += 1 }
}

/// A graph under construction with numbers for its inputs and weights.
final class Case {
  let graph = Graph()
  let weights = DrawnWeights()
  var dice: Dice
  var inputs: [(name: String, bytes: [UInt8])] = []

  init(seed: UInt64) { dice = Dice(seed) }

  func input(
    _ shape: [Int], _ element: ElementType = .f32, _ cadence: Cadence = .frame,
    _ range: ClosedRange<Float> = -1...1
  ) -> Value {
    let name = "input \(inputs.count)"
    inputs.append((name, ElementCodec.encode(dice.floats(shape.reduce(1, *), range), element)))
    return graph.input(name, shape, element, cadence)
  }

  func weight(
    _ shape: [Int], _ element: ElementType = .f32, stored: ElementType = .f32,
    _ range: ClosedRange<Float> = -1...1
  ) -> Value {
    let name = "weight \(graph.nodes.count)"
    weights.set(name, shape, stored, dice.floats(shape.reduce(1, *), range))
    return graph.weight(name, shape, element)
  }

  /// All outputs of a backend for the inputs drawn; `rewritten` runs in place of the graph as it was written.
  func run(_ backend: any Backend, _ rewritten: Graph? = nil) throws -> [String: [Float]] {
    let program = try backend.compile(rewritten ?? graph, weights: weights) { _ in }
    for input in inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
    try program.run()
    return try Self.outputs(program, rewritten ?? graph)
  }

  static func outputs(_ program: any Executable, _ graph: Graph) throws -> [String: [Float]] {
    var result: [String: [Float]] = [:]
    for output in graph.outputs {
      let type = try #require(program.type(of: output.name))
      result[output.name] = try program.withOutput(output.name) { ElementCodec.decode($0, type.element) }
    }
    return result
  }

  /// Holds the CPU backend against the reference: relative L2 of each output.
  func check(_ tolerance: Double, _ comment: String = "", sourceLocation: SourceLocation = #_sourceLocation)
    throws
  {
    let expected = try run(ReferenceBackend())
    let found = try run(try CPUBackend(precision: .f32))
    for (name, numbers) in expected {
      let error = relativeError(try #require(found[name]), numbers)
      #expect(error <= tolerance, "\(name) \(comment)", sourceLocation: sourceLocation)
    }
  }
}

/// |a − b| / |b| in the Euclidean norm; infinite where a number is not finite or the counts differ.
func relativeError(_ a: [Float], _ b: [Float]) -> Double {
  guard a.count == b.count else { return .infinity }
  var difference = 0.0
  var size = 0.0
  for (x, y) in zip(a, b) {
    difference += (Double(x) - Double(y)) * (Double(x) - Double(y))
    size += Double(y) * Double(y)
  }
  guard difference.isFinite else { return .infinity }
  return size == 0 ? difference.squareRoot() : (difference / size).squareRoot()
}
