import Engine
import Frames

/// What this machine computes at best: large products that reuse every number they load.
enum Peak {
  /// Floating-point operations a second, the best of several shapes and runs.
  static func measure(_ backend: any Backend) throws -> Double {
    var best = 0.0
    for side in [512, 1024, 2048] { best = max(best, try product(backend, side)) }
    for channels in [128, 256] { best = max(best, try convolution(backend, channels)) }
    return best
  }

  /// `[side, side]` times `[side, side]`.
  private static func product(_ backend: any Backend, _ side: Int) throws -> Double {
    let graph = Graph()
    let element = backend.preferredElement
    let x = graph.input("x", [side, side], element, .frame)
    graph.output("y", graph.linear(x, weight: graph.weight("weight", [side, side], element)))
    return try rate(backend, graph, operations: 2 * Double(side * side * side))
  }

  /// 3x3, as many channels out as in, on 64 by 64 pixels.
  private static func convolution(_ backend: any Backend, _ channels: Int) throws -> Double {
    let graph = Graph()
    let element = backend.preferredElement
    let x = graph.input("x", [64, 64, channels], element, .frame)
    let weight = graph.weight("weight", [channels, 3, 3, channels], element)
    graph.output("y", graph.convolution(x, weight: weight, padding: Padding(1)))
    return try rate(backend, graph, operations: 2 * Double(64 * 64 * 9 * channels * channels))
  }

  private static func rate(_ backend: any Backend, _ graph: Graph, operations: Double) throws -> Double {
    let weights = ZeroWeights(graph)
    let executable = try backend.compile(graph, weights: weights) { _ in }
    _ = try executable.withInput("x") { $0.initializeMemory(as: UInt8.self, repeating: 0) }
    var best = Double.infinity
    for _ in 0..<12 {
      let start = Clock.now()
      try executable.run()
      best = min(best, Double(Clock.now() - start) / 1e9)
    }
    return operations / best
  }
}

/// A checkpoint whose tensors are all zero. No processor multiplies zeros faster.
private final class ZeroWeights: WeightSource {
  private var types: [String: TensorType] = [:]

  init(_ graph: Graph) {
    for node in graph.nodes {
      if case .weight(let name) = node.op { types[name] = node.type }
    }
  }
  func type(of name: String) -> TensorType? { types[name] }
  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    let bytes = [UInt8](repeating: 0, count: types[name]?.byteCount ?? 0)
    return try bytes.withUnsafeBytes(body)
  }
  func release(_ name: String) {}
}
