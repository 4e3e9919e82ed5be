import CKernels
import Engine
import Glibc

extension CPUBackend {
  /// The most floating-point operations a second that oneDNN reaches on this machine's threads: the best of a
  /// few runs of a matrix product and of a convolution that fit the caches. bf16 is 0 where the processor has
  /// none. Takes about a second.
  public static func measurePeak(threads: Int? = nil) throws -> (f32: Double, bf16: Double) {
    let f32 = try peak(CPUBackend(precision: .f32, threads: threads), .f32)
    let bf16 = hasBfloat16 ? try peak(CPUBackend(precision: .bf16, threads: threads), .bf16) : 0
    return (f32, bf16)
  }

  private static func peak(_ backend: CPUBackend, _ element: ElementType) throws -> Double {
    let matrices = Graph()
    let tokens = matrices.input("x", [1024, 512], element, .frame)
    matrices.output("y", matrices.linear(tokens, weight: matrices.weight("w", [512, 512], element)))
    let pictures = Graph()
    let picture = pictures.input("x", [64, 64, 128], element, .frame)
    pictures.output(
      "y",
      pictures.convolution(
        picture, weight: pictures.weight("w", [128, 3, 3, 128], element), padding: Padding(1)))
    return try max(rate(backend, matrices), rate(backend, pictures))
  }

  /// Operations a second of the fastest of the runs that fit in a quarter of a second.
  private static func rate(_ backend: CPUBackend, _ graph: Graph) throws -> Double {
    let program = try backend.compile(graph, weights: Zeros(graph)) { _ in }
    var best = 0.0
    var spent = 0.0
    while spent < 0.25 {
      for step in try program.profile() {
        best = max(best, step.operations / step.seconds)
        spent += step.seconds
      }
    }
    return best
  }
}

/// Weights that are all zero, of the shapes a graph asks for.
private final class Zeros: WeightSource {
  private var types: [String: TensorType] = [:]

  init(_ graph: Graph) {
    for node in graph.nodes {
      if case .weight(let name) = node.op { types[name] = node.type }
    }
  }
  func type(of name: String) -> TensorType? { types[name] }
  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    try [UInt8](repeating: 0, count: types[name]?.byteCount ?? 0).withUnsafeBytes(body)
  }
  func release(_ name: String) {}
}
