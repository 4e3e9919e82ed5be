import Engine
import TestSupport

/// Weights drawn for a test, stored in any element type.
public final class DrawnWeights: WeightSource {
  public init() {}

  private var tensors: [String: (type: TensorType, bytes: [UInt8])] = [:]
  /// How often each tensor was read.
  public private(set) var reads: [String: Int] = [:]

  public func set(_ name: String, _ shape: [Int], _ element: ElementType, _ floats: [Float]) {
    tensors[name] = (TensorType(shape, element), ElementCodec.encode(floats, element))
  }
  public func type(of name: String) -> TensorType? { tensors[name]?.type }
  public func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let tensor = tensors[name] else { throw EngineError.missingWeight(name) }
    reads[name, default: 0] += 1
    // One byte off, as a tensor in a file may lie.
    return try ([0] + tensor.bytes).withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[1...])) }
  }
}

/// A graph under construction with numbers for its inputs and weights.
public final class Case {
  public let graph = Graph()
  public let weights = DrawnWeights()
  public var dice: SplitMix
  public var inputs: [(name: String, bytes: [UInt8])] = []

  public init(seed: Int) { dice = SplitMix(seed: seed) }

  public func input(
    _ shape: [Int], _ element: ElementType = .f32, _ cadence: Cadence = .frame,
    _ range: ClosedRange<Float> = -1...1
  ) -> Value {
    let name = "input \(inputs.count)"
    inputs.append((name, ElementCodec.encode(dice.floats(shape.reduce(1, *), range), element)))
    return graph.input(name, shape, element, cadence)
  }

  public func weight(
    _ shape: [Int], _ element: ElementType = .f32, stored: ElementType = .f32,
    _ range: ClosedRange<Float> = -1...1
  ) -> Value {
    let name = "weight \(graph.nodes.count)"
    weights.set(name, shape, stored, dice.floats(shape.reduce(1, *), range))
    return graph.weight(name, shape, element)
  }

  /// A linear layer behind a layer norm, as a transformer's.
  public func writeNormedLayer(rows: Int, depth: Int, filters: Int) {
    let x = input([rows, depth], .f16)
    let norm = graph.layerNorm(x, epsilon: 1e-5, gain: weight([depth]), shift: weight([depth]))
    graph.output(
      "y",
      graph.linear(norm, weight: weight([filters, depth], .f16, stored: .f16), bias: weight([filters])))
  }

  /// All outputs of a backend for the inputs drawn; `rewritten` runs in place of the graph as it was written.
  public func run(_ backend: any Backend, _ rewritten: Graph? = nil) throws -> [String: [Float]] {
    let program = try backend.compile(rewritten ?? graph, weights: weights) { _ in }
    for input in inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
    try program.run()
    return try Self.outputs(program, rewritten ?? graph)
  }

  public static func outputs(_ program: any Executable, _ graph: Graph) throws -> [String: [Float]] {
    var result: [String: [Float]] = [:]
    for output in graph.outputs {
      guard let type = program.type(of: output.name) else { throw EngineError.unknownName(output.name) }
      result[output.name] = try program.withOutput(output.name) { ElementCodec.decode($0, type.element) }
    }
    return result
  }

  /// The largest relative error of any output against the reference, which is infinite where one is missing.
  public func error(of backend: any Backend) throws -> Double {
    Self.error(of: try run(backend), try run(ReferenceBackend()))
  }

  /// The same of a program that runs again and again, each time but the first with some of its inputs written anew.
  public func errorsOfRewrittenInputs(rounds: Int, on backend: any Backend) throws -> [Double] {
    let program = try backend.compile(graph, weights: weights) { _ in }
    return try (0..<rounds).map { round in
      for index in inputs.indices where round == 0 || dice.pick(0...1) == 0 {
        let name = inputs[index].name
        guard let type = program.type(of: name) else { throw EngineError.unknownName(name) }
        inputs[index].bytes = ElementCodec.encode(dice.floats(type.count), type.element)
        try inputs[index].bytes.withUnsafeBytes { try program.write(name, $0) }
      }
      try program.run()
      return Self.error(of: try Self.outputs(program, graph), try run(ReferenceBackend()))
    }
  }

  private static func error(of found: [String: [Float]], _ expected: [String: [Float]]) -> Double {
    expected.map { relativeError(found[$0.key] ?? [], $0.value) }.max() ?? .infinity
  }
}
