import CPUBackend
import Engine
import GraphCases
import Testing

/// Element types that products can be tested in on this machine.
let productElements: [ElementType] = CPUBackend.runsBfloat16 ? [.f32, .bf16] : [.f32]

@Suite struct OpTests {
  @Test(arguments: OpCase.all) func opAgreesWithTheReference(op: OpCase) throws {
    for element in productElements {
      #expect(
        try op.make(element).error(of: CPUBackend(precision: .f32)) <= op.tolerance(element), "\(element)")
    }
  }

  @Test(arguments: OpCase.tiles) func tilesAgreeWithTheReference(op: OpCase) throws {
    for element in productElements {
      #expect(
        try op.make(element).error(of: CPUBackend(precision: .f32)) <= op.tolerance(element), "\(element)")
    }
  }

  /// A picture that is doubled first is read as it is, in one convolution.
  @Test func doubledPicturesAreNotMade() throws {
    let test = Case(seed: 3)
    let x = test.graph.upsampleNearest(test.input([16, 18, 32]), height: 32, width: 36)
    test.graph.output(
      "y", test.graph.convolution(x, weight: test.weight([48, 3, 3, 32]), bias: nil, padding: Padding(1)))
    let program = try CPUBackend(precision: .f32).compile(test.graph, weights: test.weights) { _ in }
    // 25 of the 36 products of each of 9 by 8 tiles.
    #expect(try program.profile().map(\.operations) == [2 * 25 * 72 * 32 * 48])
    #expect(try test.error(of: CPUBackend(precision: .f32)) <= 1e-5)
  }

  /// A file's integers are no filters that kernels read as they are.
  @Test(arguments: [ElementType.u8, .i8, .i32]) func filtersOfIntegersBecomeNumbers(stored: ElementType)
    throws
  {
    let test = Case(seed: 5)
    let weight = test.weight([48, 3, 3, 32], .f32, stored: stored, 0...9)
    // Too few tiles for filters that are transformed when the model is opened.
    test.graph.output(
      "y", test.graph.convolution(test.input([16, 16, 32]), weight: weight, bias: nil, padding: Padding(1)))
    #expect(try test.error(of: CPUBackend(precision: .f32)) <= 1e-5)
  }

  /// In vectors and behind them: what an exponential or a square of such numbers leaves the range of f32.
  @Test(arguments: [Activation.silu, .quickGelu, .gelu]) func hugeNumbersAreThemselves(activation: Activation)
    throws
  {
    let numbers: [Float] = [
      100, 3e13, 1e20, 1e38, 3e38, .infinity, -100, -3e13, -1e20, -1e38, -3e38, 0, .nan,
    ]
    let x = (0..<16).map { _ in numbers }.joined() + numbers
    let graph = Graph()
    graph.output("y", graph.activation(graph.input("x", [x.count], .f32, .frame), activation))
    let program = try CPUBackend(precision: .f32).compile(graph, weights: DrawnWeights()) { _ in }
    try x.withUnsafeBytes { try program.write("x", $0) }
    try program.run()
    let found = try #require(Case.outputs(program, graph)["y"])
    for (x, y) in zip(x, found) { #expect(x.isNaN ? y.isNaN : y == max(x, 0), "\(x)") }
  }

  /// GEGLU is part of the product whose weights stay in 16 bits.
  @Test func gatesOfHalvesAreNoOpOfTheirOwn() throws {
    let test = Case(seed: 4)
    let weight = test.weight([1024, 256], .f32, stored: .f16)
    test.graph.output("y", test.graph.geglu(test.graph.linear(test.input([9, 256]), weight: weight)))
    let program = try CPUBackend(precision: .f32).compile(test.graph, weights: test.weights) { _ in }
    #expect(try program.profile().count == (CPUBackend.keepsHalves ? 1 : 2))
    #expect(try test.error(of: CPUBackend(precision: .f32)) <= 1e-5)
  }

  @Test(arguments: OpCase.halves) func weightsOf16BitsAgreeWithTheReference(op: OpCase) throws {
    for element in productElements {
      #expect(
        try op.make(element).error(of: CPUBackend(precision: .f32)) <= op.tolerance(element), "\(element)")
    }
  }

  /// So many threads share work out in smaller pieces than two do.
  @Test(arguments: [3, 16]) func manyThreadsAgreeWithTheReference(threads: Int) throws {
    let test = Case(seed: 6)
    // Filters that are transformed in every frame, and filters that are when the model is opened.
    for (side, channels, filters) in [(16, 64, 80), (32, 32, 48)] {
      let weight = test.weight([filters, 3, 3, channels])
      let y = test.graph.convolution(
        test.input([side, side, channels]), weight: weight, bias: nil, padding: Padding(1))
      test.graph.output("tiles of \(side)", y)
    }
    for rows in [64, 77] {
      let weight = test.weight([640, 512], .f32, stored: .f16)
      test.graph.output(
        "halves of \(rows)", test.graph.linear(test.input([rows, 512]), weight: weight, bias: nil))
    }
    let norm = test.graph.groupNorm(
      test.input([40, 40, 96]), groups: 4, epsilon: 1e-5, gain: test.weight([96]), shift: test.weight([96]))
    test.graph.output("norm", norm)
    #expect(try test.error(of: CPUBackend(precision: .f32, threads: threads, overlap: .never)) <= 1e-5)
  }

  @Test(.enabled(if: CPUBackend.hasInt8), arguments: OpCase.int8) func int8AgreesWithTheReference(op: OpCase)
    throws
  {
    for element in productElements {
      #expect(
        try op.make(element).error(of: CPUBackend(precision: .f32)) <= op.tolerance(element), "\(element)")
    }
  }

  /// oneDNN multiplies no f16; everything else takes it.
  @Test(arguments: [OpCase.Family.geglu, .binaries, .conversions, .moving]) func halfPrecisionIsMoved(
    family: OpCase.Family
  ) throws {
    for op in OpCase.all where op.family == family {
      #expect(try op.make(.f16).error(of: CPUBackend(precision: .f32)) <= op.tolerance(.f16), "\(op)")
    }
  }
}
