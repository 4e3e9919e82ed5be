import CUDABackend
import Engine
import GraphCases
import TestSupport
import Testing

/// Every op on the simulated GPU.
@Suite(.enabled(if: Simulator.isReady), .serialized) struct OpTests {
  /// One for all: its kernels are loaded once. Cases run one after the other.
  nonisolated(unsafe) private static let backend = Result { try CUDABackend(element: .f32) }

  @Test(arguments: OpCase.all) func opAgreesWithTheReference(op: OpCase) throws {
    for element in [ElementType.f16, .f32, .bf16] {
      let error = try op.make(element).error(of: Self.backend.get())
      #expect(error <= op.tolerance(element), "\(op) in \(element)")
    }
  }

  /// What the backend compiles at run time is what Tests/CUDAKernels compiles for every architecture. Heads of unusual
  /// size are compiled as they come.
  @Test func modulesAreThoseThatAreChecked() throws {
    let usual = [8, 32, 40, 64, 80, 128, 160]
    let backend = try CUDABackend()
    for element in [ElementType.f16, .bf16, .f32] {
      for (rows, columns, depth) in [
        (256, 1280, 5120), (4096, 64, 64), (77, 320, 320), (16384, 128, 1152), (1, 8, 8),
      ] {
        let graph = Graph()
        let x = graph.input("x", [rows, depth], element, .frame)
        graph.output("y", graph.linear(x, weight: graph.input("w", [columns, depth], element, .frame)))
        _ = try backend.compile(graph, weights: DrawnWeights()) { _ in }
      }
      for (queries, dimension) in [(4096, 64), (256, 64), (16, 64)] + usual.map({ (100, $0) }) {
        let graph = Graph()
        let x = graph.input("x", [queries, 2 * dimension], element, .frame)
        graph.output("y", graph.attention(x, x, x, heads: 2))
        _ = try backend.compile(graph, weights: DrawnWeights()) { _ in }
      }
    }
    let list = Simulator.checkout + "/Sources/CCUDA/kernels/variants.txt"
    let lines = try readText(list).split(separator: "\n").filter { !$0.hasPrefix("#") }
    let listed = Set(
      lines.map { $0.split(separator: " ") }.map { ([$0[0]] + $0.dropFirst(2)).joined(separator: " ") })
    #expect(backend.modules.count > 20)
    for module in backend.modules { #expect(listed.contains(module)) }
  }
}
