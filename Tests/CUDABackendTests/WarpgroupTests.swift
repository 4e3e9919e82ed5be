import CUDABackend
import Engine
import GraphCases
import TestSupport
import Testing

/// Products by Hopper's warpgroups, on a simulated one.
@Suite(.enabled(if: Simulator.isReady), .serialized) struct WarpgroupTests {
  private static let tiles = CUDABackend.warpgroupTiles.count
  /// The second of the simulated GPUs is a Hopper; one for each tile.
  nonisolated(unsafe) private static let backends = (0..<tiles).map { tile in
    Result { try CUDABackend(ordinal: 1, tuning: .warpgroups(tile)) }
  }

  private func kernels(_ test: Case, _ backend: CUDABackend) throws -> [String] {
    try backend.compile(test.graph, weights: test.weights) { _ in }.profile().map(\.label)
  }

  /// Each case in one of the tiles, and in all by turns.
  @Test(
    arguments: OpCase.all.filter { [.linear, .normedLinear, .convolution].contains($0.family) },
    [ElementType.f16, .bf16])
  func opsAgreeWithTheReference(op: OpCase, element: ElementType) throws {
    let backend = try Self.backends[Int(op.seed) % Self.tiles].get()
    let error = try op.make(element).error(of: backend)
    #expect(error <= op.tolerance(element), "\(op) in \(element)")
  }

  /// Sizes that fill a tile, or do not; depth that is split, or is less than a pipeline.
  @Test(arguments: 0..<tiles) func tilesAgreeWithTheReference(tile: Int) throws {
    let backend = try Self.backends[tile].get()
    for (rows, columns, depth) in [(64, 160, 64), (77, 96, 1288), (300, 520, 200)] {
      let test = Case(seed: 3)
      let x = test.input([rows, depth], .f16)
      let product = test.graph.linear(
        x, weight: test.weight([columns, depth], .f16, stored: .f16), bias: test.weight([columns]))
      test.graph.output("y", test.graph.add(product, test.input([rows, columns], .f16)))
      #expect(try kernels(test, backend).contains { $0.contains("product_warpgroup ELEMENT=TC_F16") })
      #expect(try test.error(of: backend) < 6e-4, "\(rows)x\(columns)x\(depth)")
    }
  }

  /// Boxes of pictures whose borders lie everywhere in them.
  @Test(arguments: [(16, 16), (17, 33), (5, 130), (40, 3), (1, 1)])
  func picturesAgreeWithTheReference(height: Int, width: Int) throws {
    for tile in [0, 3, 8] {
      let test = Case(seed: 4)
      let x = test.input([height, width, 72], .f16)
      test.graph.output(
        "y",
        test.graph.convolution(
          x, weight: test.weight([40, 3, 3, 72], .f16, stored: .f16), bias: test.weight([40]),
          padding: Padding(1)))
      let backend = try Self.backends[tile].get()
      #expect(try kernels(test, backend).contains { $0.contains("product_warpgroup ELEMENT=TC_F16") })
      #expect(try test.error(of: backend) < 6e-4)
    }
  }

  /// Layers behind a layer norm in e4m3, whose three bits of mantissa lose some 4% of each product and less of a sum.
  @Test(arguments: OpCase.all.filter { $0.family == .normedLinear })
  func linearsOfEightBitsAreNear(op: OpCase) throws {
    let test = op.make(.f16)
    let backend = try CUDABackend(
      ordinal: 1, products: ProductFormat(linears: .f8), tuning: .warpgroups(Int(op.seed)))
    let error = try test.error(of: backend)
    #expect(error <= 0.06, "\(op): \(error)")
    #expect(try kernels(test, backend).contains { $0.contains("ELEMENT=TC_E4M3") } == (error > 0.003))
  }

  /// Weights are there once, in half of the bytes.
  @Test func originalsOfEightBitsLeave() throws {
    let test = Case(seed: 3)
    test.writeNormedLayer(rows: 16, depth: 256, filters: 512)
    func weights(_ linears: ProductFormat.Linears) throws -> Int {
      try CUDABackend(ordinal: 1, products: ProductFormat(linears: linears))
        .compile(test.graph, weights: test.weights) { _ in }.memory.weights
    }
    let (wide, narrow) = (try weights(.f16), try weights(.f8))
    // Beside them: rows of the input, and their moments.
    #expect(wide - narrow > 512 * 256 - 16 * 256 - 1024)
  }

  @Test func onlyHopperMultipliesEightBits() {
    #expect(throws: CUDAError.self) { try CUDABackend(products: ProductFormat(linears: .f8)) }
  }

  /// They are taken only where they are wanted and can be had.
  @Test func onlyHopperTakesThem() throws {
    let test = Case(seed: 3)
    let x = test.input([64, 64], .f16)
    test.graph.output("y", test.graph.linear(x, weight: test.weight([64, 64], .f16, stored: .f16)))
    for backend in [try CUDABackend(tuning: .warpgroups(0)), try CUDABackend(ordinal: 1, tuning: .off)] {
      #expect(try kernels(test, backend).allSatisfy { !$0.contains("warpgroup") })
    }
  }
}
