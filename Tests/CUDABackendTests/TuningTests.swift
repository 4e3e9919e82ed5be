import CUDABackend
import Engine
import Glibc
import GraphCases
import TestSupport
import Testing

/// Which way a product is computed, and cuBLASLt as one of them, on the simulated GPU.
@Suite(.enabled(if: Simulator.isReady), .serialized) struct TuningTests {
  nonisolated(unsafe) private static let library = Result { try CUDABackend(tuning: .library) }

  /// Whatever the library takes, and what it leaves to our kernels, agrees with the reference.
  @Test(
    arguments: OpCase.all.filter {
      [.linear, .normedLinear, .convolution].contains($0.family) && $0.seed < 24
    }, [ElementType.f16, .bf16])
  func opsByTheLibraryAgreeWithTheReference(op: OpCase, element: ElementType) throws {
    let error = try op.make(element).error(of: Self.library.get())
    #expect(error <= op.tolerance(element), "\(op) in \(element)")
  }

  /// 64 rows, as a transformer's last layer: bias in f32, as checkpoints' are, and a residual.
  private func layer(_ residual: Bool = true) -> Case {
    let test = Case(seed: 3)
    let x = test.input([64, 128], .f16)
    let product = test.graph.linear(
      x, weight: test.weight([96, 128], .f16, stored: .f16), bias: test.weight([96]))
    test.graph.output("y", residual ? test.graph.add(product, test.input([64, 96], .f16)) : product)
    return test
  }

  private func kernels(_ test: Case, _ backend: CUDABackend) throws -> [String] {
    try backend.compile(test.graph, weights: test.weights) { _ in }.profile().map(\.label)
  }

  @Test(arguments: [false, true]) func theLibraryIsUsedWhereItIsWanted(residual: Bool) throws {
    let test = layer(residual)
    #expect(try kernels(test, Self.library.get()).contains { $0.hasSuffix("cublaslt 0") })
    #expect(try kernels(test, CUDABackend(tuning: .off)).allSatisfy { !$0.contains("cublaslt") })
    #expect(try test.error(of: Self.library.get()) < 6e-4)
  }

  private static let tables = Simulator.products + "/simulated/kernels/choices-*"

  private func files() -> [String] {
    var found = glob_t()
    defer { globfree(&found) }
    guard glob(Self.tables, 0, nil, &found) == 0 else { return [] }
    return (0..<Int(found.gl_pathc)).compactMap { found.gl_pathv[$0].map { String(cString: $0) } }
  }

  /// Whether anything was measured or compiled, and the kernels that were chosen.
  private func measure(
    _ test: Case, _ backend: CUDABackend? = nil, tolerance: Double = 6e-4
  ) throws -> (isNew: Bool, kernels: [String]) {
    let backend = try backend ?? CUDABackend(tuning: .measured)
    var isNew = false
    let program = try backend.compile(test.graph, weights: test.weights) {
      if case .kernels = $0 { isNew = true }
    }
    let kernels = try program.profile().map(\.label)
    #expect(try test.error(of: backend) < tolerance)
    return (isNew, kernels)
  }

  /// On the second of the simulated GPUs, a Hopper: warpgroups among what is measured, and layers of eight bits.
  @Test(arguments: [ProductFormat.Linears.f16, .f8])
  func warpgroupsAreMeasuredOnceOnAMachine(linears: ProductFormat.Linears) throws {
    for file in files() { unlink(file) }
    let test = Case(seed: 3)
    test.writeNormedLayer(rows: 64, depth: 128, filters: 96)
    func backend() throws -> CUDABackend {
      try CUDABackend(
        ordinal: 1, products: ProductFormat(linears: linears), tuning: .measuredWithWarpgroups)
    }
    let tolerance = linears == .f8 ? 0.06 : 2e-3
    let first = try measure(test, backend(), tolerance: tolerance)
    #expect(first.isNew)
    let again = try measure(test, backend(), tolerance: tolerance)
    #expect(!again.isNew && again.kernels == first.kernels)
    #expect(first.kernels.contains { $0.contains("TC_E4M3") } == (linears == .f8))
  }

  /// What was measured without them says nothing of them, and what was measured with them is not for those who do
  /// without.
  @Test func whatWasMeasuredWithoutWarpgroupsIsMeasuredAgainWithThem() throws {
    let test = layer()
    func isMeasured(_ tuning: Tuning) throws -> Bool {
      try measure(test, CUDABackend(ordinal: 1, tuning: tuning)).isNew
    }
    // Both have all their kernels; what is new then is measured.
    for tuning in [Tuning.measuredWithWarpgroups, .measured] { _ = try isMeasured(tuning) }
    for file in files() { unlink(file) }
    #expect(try isMeasured(.measured))
    #expect(try isMeasured(.measuredWithWarpgroups))
    #expect(try !isMeasured(.measured) && !isMeasured(.measuredWithWarpgroups))
  }

  @Test func productsAreMeasuredOnceOnAMachine() throws {
    for file in files() { unlink(file) }
    let test = layer()
    let first = try measure(test)
    #expect(first.isNew)
    let file = try #require(files().first)
    let again = try measure(test)
    #expect(!again.isNew && again.kernels == first.kernels)
    // Cut, as by a full disk.
    #expect(truncate(file, 30) == 0)
    #expect(try measure(test).isNew)
    let mended = try measure(test)
    #expect(!mended.isNew)
  }
}
