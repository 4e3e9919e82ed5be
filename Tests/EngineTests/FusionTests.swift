import Engine
import GraphCases
import TestSupport
import Testing

/// What the passes do to the graph; that it still means the same is tested with random graphs on both backends.
@Suite struct FusionTests {
  private let graph = Graph()
  private var x: Value { graph.input("x", [8, 8, 4], .f32, .frame) }
  private func kernel(_ name: String) -> Value { graph.weight(name, [4, 3, 3, 4], .f32) }
  private func conv(_ x: Value, _ name: String, bias: Value? = nil) -> Value {
    graph.convolution(x, weight: kernel(name), bias: bias, padding: Padding(1))
  }

  /// Ops that the frame program of the fused graph runs.
  private func frameOps() -> [Op] {
    let plan = Plan(Fusion.run(graph))
    return plan.frame.map { plan.graph[$0].op }
  }
  private func convolution(_ epilogue: Epilogue) -> Op {
    .convolution(Convolution(stride: 1, padding: Padding(1), epilogue: epilogue))
  }

  @Test func aSettingsVectorBecomesBiasAtItsOwnCadence() {
    let time = graph.input("time", [1, 4], .f32, .settings)
    graph.output("y", graph.add(conv(x, "w", bias: graph.weight("b", [4], .f32)), time))
    #expect(frameOps() == [convolution(Epilogue(bias: true))])
    let plan = Plan(Fusion.run(graph))
    #expect(plan.settings.map { plan.graph[$0].op } == [.binary(.add)])
  }

  @Test func residualAndActivationFollowTheProduct() {
    graph.output("y", graph.activation(graph.add(conv(x, "w"), x), .relu))
    #expect(frameOps() == [convolution(Epilogue(residual: true, activation: .relu))])
  }

  @Test func aProductReadTwiceKeepsItsValue() {
    let y = conv(x, "w")
    graph.output("y", graph.activation(y, .relu))
    graph.output("sum", graph.add(y, x))
    #expect(frameOps() == [convolution(Epilogue()), .activation(.relu), .binary(.add)])
  }

  @Test func aResidualAfterAnActivationIsNotFolded() {
    graph.output("y", graph.add(graph.activation(conv(x, "w"), .silu), x))
    #expect(frameOps() == [convolution(Epilogue(activation: .silu)), .binary(.add)])
  }

  @Test func groupNormTakesTheActivation() {
    let vector = graph.weight("v", [4], .f32)
    let normed = graph.groupNorm(x, groups: 2, epsilon: 1e-5, gain: vector, shift: vector)
    graph.output("y", graph.activation(normed, .silu))
    #expect(frameOps() == [.groupNorm(groups: 2, epsilon: 1e-5, activation: .silu)])
  }

  @Test func productsStayOfTheirStage() {
    let encoded = graph.inStage("encode") { conv(x, "first") }
    let noisy = graph.inStage("denoise") { graph.activation(graph.add(encoded, x), .relu) }
    let doubled = graph.inStage("decode") { graph.upsampleNearest(noisy, height: 16, width: 16) }
    graph.output("y", graph.inStage("decode") { conv(doubled, "last") })
    let plan = Plan(Fusion.run(graph))
    #expect(plan.frame.map { plan.graph[$0].stage } == ["encode", "decode", "decode"])
  }

  @Test func whatIsEqualIsOneNodeWhateverItsStage() {
    let first = graph.inStage("encode") { graph.activation(x, .relu) }
    #expect(graph.inStage("decode") { graph.activation(x, .relu) } == first)
    #expect(graph[first].stage == "encode")
  }

  @Test func threeProjectionsBecomeOneProduct() {
    let tokens = graph.reshape(x, [64, 4])
    let (q, k, v) = (
      graph.linear(tokens, weight: graph.weight("q", [4, 4], .f32)),
      graph.linear(tokens, weight: graph.weight("k", [4, 4], .f32)),
      graph.linear(tokens, weight: graph.weight("v", [4, 4], .f32))
    )
    graph.output("y", graph.attention(q, k, v, heads: 2))
    let ops = frameOps()
    #expect(ops.filter { $0 == .linear(Epilogue()) }.count == 1)
    #expect(ops.count == 5, "three slices beside, which a backend may take as views")
  }

  @Test func anUpsamplingConvolutionRunsInFourPhasesOnTheSmallPicture() throws {
    graph.output("y", conv(graph.upsampleNearest(x, height: 16, width: 16), "w"))
    let plan = Plan(Fusion.run(graph))
    #expect(
      plan.frame.map { plan.graph[$0].op } == [.convolution(Convolution(padding: Padding(1))), .joinPhases])
    let part = try #require(plan.frame.first)
    #expect(plan.graph.shape(part) == [9, 9, 16])
  }

  /// GEGLU in the product's epilogue, where a backend asks for it, means the same.
  @Test func gatedProductsMeanTheSame() throws {
    let test = Case(seed: 8)
    let x = test.input([5, 6])
    let product = test.graph.linear(x, weight: test.weight([14, 6]), bias: test.weight([14]))
    test.graph.output("y", test.graph.geglu(product))
    let gated = Fusion.run(test.graph, endings: .gated)
    let plan = Plan(gated)
    #expect(plan.frame.map { plan.graph[$0].op } == [.linear(Epilogue(bias: true, gated: true))])
    let expected = try test.run(ReferenceBackend())
    let found = try test.run(ReferenceBackend(), gated)
    #expect(relativeError(try #require(found["y"]), try #require(expected["y"])) <= 1e-6)
  }

  /// A layer norm in the epilogues of all who read it, where a backend asks for it, means the same.
  @Test(arguments: [false, true]) func normalizedProductsMeanTheSame(gated: Bool) throws {
    let test = Case(seed: 10)
    let x = test.input([5, 6], .f32, .frame, 3...5)
    let norm = test.graph.layerNorm(x, epsilon: 1e-5, gain: test.weight([6]), shift: test.weight([6]))
    let first = test.graph.linear(norm, weight: test.weight([14, 6]), bias: test.weight([14]))
    let second = test.graph.linear(norm, weight: test.weight([6, 6]))
    test.graph.output("first", gated ? test.graph.geglu(first) : first)
    test.graph.output("second", test.graph.add(second, x))
    let folded = Fusion.run(test.graph, endings: [.gated, .normalized])
    let plan = Plan(folded)
    #expect(
      plan.frame.map { plan.graph[$0].op } == [
        .moments(epsilon: 1e-5), .linear(Epilogue(bias: true, gated: gated, normalized: true)),
        .linear(Epilogue(bias: true, residual: true, normalized: true)),
      ])
    let expected = try test.run(ReferenceBackend())
    let found = try test.run(ReferenceBackend(), folded)
    for name in ["first", "second"] {
      #expect(relativeError(try #require(found[name]), try #require(expected[name])) <= 2e-6)
    }
  }

  /// A norm that others read has to be there anyhow.
  @Test func normsThatOthersReadAreNotFolded() {
    let test = Case(seed: 10)
    let norm = test.graph.layerNorm(
      test.input([5, 6]), epsilon: 1e-5, gain: test.weight([6]), shift: test.weight([6]))
    test.graph.output("y", test.graph.linear(norm, weight: test.weight([14, 6])))
    test.graph.output("norm", norm)
    let plan = Plan(Fusion.run(test.graph, endings: .normalized))
    #expect(plan.frame.map { plan.graph[$0].op } == [.layerNorm(epsilon: 1e-5), .linear(Epilogue())])
  }

  /// A norm that stores eight bits, and its product of those, are no floats.
  @Test func normsOfEightBitsAreNotFolded() throws {
    let test = Case(seed: 11)
    let norm = test.graph.layerNorm(
      test.input([5, 6]), epsilon: 1e-5, gain: test.weight([6]), shift: test.weight([6]))
    let rounded = test.graph.quantize(norm, factors: test.weight([6], .f32, stored: .f32, 20...30))
    let product = test.graph.linear(
      rounded, weight: test.weight([14, 6], .i8, stored: .i8, -99...99), scale: test.weight([14]),
      bias: test.weight([14]), element: .f32)
    test.graph.output("y", product)
    let fused = Fusion.run(test.graph, endings: .normalized)
    let plan = Plan(fused)
    #expect(
      plan.frame.map { plan.graph[$0].op } == [
        .layerNorm(epsilon: 1e-5), .linear(Epilogue(bias: true, scaled: true)),
      ])
    #expect(try test.run(ReferenceBackend(), fused) == test.run(ReferenceBackend()))
  }

  /// Whoever else reads the product needs it as it is.
  @Test func productsThatOthersReadAreNotGated() {
    let test = Case(seed: 8)
    let product = test.graph.linear(test.input([5, 6]), weight: test.weight([14, 6]))
    test.graph.output("product", product)
    test.graph.output("y", test.graph.geglu(product))
    let plan = Plan(Fusion.run(test.graph, endings: .gated))
    #expect(plan.frame.map { plan.graph[$0].op } == [.linear(Epilogue()), .geglu])
  }

  /// Where a backend doubles pictures itself one convolution is left, of the small one, and it means the same.
  @Test func doubledPicturesMeanTheSame() throws {
    let test = Case(seed: 9)
    let x = test.graph.upsampleNearest(test.input([5, 7, 3]), height: 10, width: 14)
    let w = test.graph.transpose(test.weight([4, 3, 3, 3]), [0, 2, 3, 1])
    let product = test.graph.convolution(x, weight: w, bias: test.weight([4]), padding: Padding(1))
    test.graph.output("y", test.graph.activation(product, .relu))
    let doubled = Fusion.run(
      test.graph, upsamplesInput: { $1.shape == [5, 7, 3] && $2.type.shape == [4, 3, 3, 3] })
    let epilogue = Epilogue(bias: true, activation: .relu)
    let plan = Plan(doubled)
    #expect(
      plan.frame.map { plan.graph[$0].op } == [
        .convolution(Convolution(padding: Padding(1), epilogue: epilogue, upsamplesInput: true))
      ])
    let expected = try test.run(ReferenceBackend())
    let found = try test.run(ReferenceBackend(), doubled)
    #expect(relativeError(try #require(found["y"]), try #require(expected["y"])) <= 1e-6)
  }

  /// Sums of taps would leave eight bits.
  @Test func convolutionsOfEightBitsAreNotSplit() throws {
    let test = Case(seed: 12)
    let x = test.graph.upsampleNearest(
      test.input([5, 7, 3], .i8, .frame, -99...99), height: 10, width: 14)
    let product = test.graph.convolution(
      x, weight: test.weight([4, 3, 3, 3], .i8, stored: .i8, -99...99), scale: test.weight([4]),
      bias: test.weight([4]), stride: 1, padding: Padding(1), element: .f32)
    test.graph.output("y", product)
    let fused = Fusion.run(test.graph)
    let plan = Plan(fused)
    let epilogue = Epilogue(bias: true, scaled: true)
    #expect(
      plan.frame.map { plan.graph[$0].op } == [
        .upsampleNearest(height: 10, width: 14),
        .convolution(Convolution(padding: Padding(1), epilogue: epilogue)),
      ])
    #expect(try test.run(ReferenceBackend(), fused) == test.run(ReferenceBackend()))
  }

  /// Up-sampling in one convolution, where a backend asks for it, means the same.
  @Test func joinedPhasesMeanTheSame() throws {
    let test = Case(seed: 9)
    let x = test.graph.upsampleNearest(test.input([5, 7, 3]), height: 10, width: 14)
    let w = test.graph.transpose(test.weight([4, 3, 3, 3]), [0, 2, 3, 1])
    test.graph.output("y", test.graph.convolution(x, weight: w, bias: test.weight([4]), padding: Padding(1)))
    let joined = Fusion.run(test.graph, endings: .joined)
    let plan = Plan(joined)
    #expect(plan.frame.count == 1)
    let part = plan.graph[try #require(plan.frame.first)]
    let inputs = part.inputs.map { plan.graph.type($0) }
    #expect(Work.operations(of: part, inputs: inputs) == Double(2 * 6 * 8 * 16 * 2 * 2 * 3))
    let expected = try test.run(ReferenceBackend())
    let found = try test.run(ReferenceBackend(), joined)
    #expect(relativeError(try #require(found["y"]), try #require(expected["y"])) <= 1e-6)
  }
}
