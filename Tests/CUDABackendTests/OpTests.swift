import CUDABackend
import Engine
import GraphCases
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
}
