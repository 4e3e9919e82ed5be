import CKernels
import Engine
import Glibc

extension CPUBackend {
  /// The most operations a second that oneDNN reaches on this machine's threads, for each element type that
  /// the processor multiplies: the best of a few runs of a matrix product and of a convolution that fit the
  /// caches. Takes about a second.
  public static func measurePeak(threads: Int? = nil) throws -> [ElementType: Double] {
    let elements: [ElementType] = [.f32] + (hasBfloat16 ? [.bf16] : []) + (hasInt8 ? [.i8] : [])
    return try Dictionary(
      uniqueKeysWithValues: elements.map { ($0, try peak(CPUBackend(precision: .f32, threads: threads), $0)) }
    )
  }

  private static func peak(_ backend: CPUBackend, _ element: ElementType) throws -> Double {
    let matrices = Graph()
    // Few enough weights that oneDNN multiplies them.
    let tokens = matrices.input("x", [1024, 448], element, .frame)
    let matrix = matrices.weight("w", [448, 448], element)
    let pictures = Graph()
    let picture = pictures.input("x", [64, 64, 128], element, .frame)
    let kernel = pictures.weight("w", [128, 3, 3, 128], element)
    if element == .i8 {
      let scale = (matrices.weight("scale", [448], .f32), pictures.weight("scale", [128], .f32))
      matrices.output(
        "y", matrices.linear(tokens, weight: matrix, scale: scale.0, bias: nil, element: .f32))
      let product = pictures.convolution(
        picture, weight: kernel, scale: scale.1, bias: nil, stride: 1, padding: Padding(1), element: .f32)
      pictures.output("y", product)
    } else {
      matrices.output("y", matrices.linear(tokens, weight: matrix))
      pictures.output("y", pictures.convolution(picture, weight: kernel, padding: Padding(1)))
    }
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
}
