import Engine
import Testing

/// Every other op against the reference. f32 results differ by the order of sums and by polynomials for exp and
/// erf (1e-5); bf16 results by one rounding to 8 bits.
private func tolerance(_ element: ElementType) -> Double { element == .f32 ? 1e-5 : 4e-3 }

@Suite struct KernelTests {
  @Test(arguments: 0..<24) func groupNormAgrees(seed: Int) throws {
    let test = Case(seed: UInt64(seed))
    let element: ElementType = seed % 2 == 0 ? .f32 : .bf16
    let groups = [1, 2, 4, 8][test.dice.pick(0...3)]
    let channels = groups * [test.dice.pick(1...9), 16, 200][test.dice.pick(0...2)]
    let shape = [test.dice.pick(1...13), test.dice.pick(1...17), channels]
    // Far from zero with a small spread: what cancels in a naive variance.
    let x = test.input(shape, element, .frame, seed % 4 == 0 ? 9...11 : -1...1)
    let (gain, shift) = (test.weight([channels]), test.weight([channels], element))
    let activation: Activation? = [nil, .silu, .relu][seed % 3]
    test.graph.output(
      "y",
      test.graph.add(
        .groupNorm(groups: groups, epsilon: 1e-5, activation: activation), [x, gain, shift],
        test.graph.type(x)))
    try test.check(tolerance(element), "\(shape) \(groups)")
  }

  @Test(arguments: 0..<12) func layerNormAgrees(seed: Int) throws {
    let test = Case(seed: UInt64(seed))
    let element: ElementType = seed % 2 == 0 ? .f32 : .bf16
    let width = [test.dice.pick(2...40), 768, 1025, 2500][test.dice.pick(0...3)]
    let x = test.input([test.dice.pick(1...40), width], element, .frame, 2...4)
    let (gain, shift) = (test.weight([width], element), test.weight([width]))
    test.graph.output("y", test.graph.layerNorm(x, epsilon: 1e-5, gain: gain, shift: shift))
    try test.check(tolerance(element), "\(width)")
  }

  @Test(arguments: [ElementType.f32, .bf16]) func activationsAgree(element: ElementType) throws {
    for (index, activation) in [Activation.silu, .gelu, .quickGelu, .relu, .tanh, .exp].enumerated() {
      let test = Case(seed: UInt64(index))
      let x = test.input([37, 61], element, .frame, activation == .exp ? -20...5 : -9...9)
      let small = test.input([999], element, .frame, -0.2...0.2)
      let wide = test.input([1500], element, .frame, -60...60)
      test.graph.output("x", test.graph.activation(x, activation))
      test.graph.output("small", test.graph.activation(small, activation))
      if activation != .exp { test.graph.output("wide", test.graph.activation(wide, activation)) }
      try test.check(tolerance(element), "\(activation)")
    }
  }

  @Test(arguments: [ElementType.f32, .bf16, .f16]) func geglu(element: ElementType) throws {
    let test = Case(seed: 3)
    test.graph.output("y", test.graph.geglu(test.input([19, 2 * 1333], element, .frame, -4...4)))
    try test.check(tolerance(element))
  }

  @Test(arguments: [ElementType.f32, .bf16, .f16]) func binariesBroadcast(element: ElementType) throws {
    let shapes: [([Int], [Int])] = [
      ([7, 9, 30], [7, 9, 30]), ([7, 9, 30], [30]), ([7, 9, 30], [1]), ([7, 9, 30], [9, 1]),
      ([7, 9, 30], [7, 1, 30]), ([7, 9, 30], [7, 1, 1]), ([7, 9, 30], [9, 30]), ([1300], [1300]),
      ([3, 2100], [2100]), ([2, 3, 4, 5], [3, 1, 5]),
    ]
    for (index, (wide, narrow)) in shapes.enumerated() {
      for op in [Binary.add, .subtract, .multiply, .divide] {
        let test = Case(seed: UInt64(index))
        let (a, b) = (test.input(wide, element), test.input(narrow, element, .frame, 0.5...2))
        test.graph.output("y", test.graph.binary(op, a, b))
        try test.check(tolerance(element), "\(wide) \(op) \(narrow)")
      }
    }
  }

  @Test func conversionsAgree() throws {
    for from in [ElementType.f32, .bf16, .f16, .u8, .i32] {
      for to in [ElementType.f32, .bf16, .f16] {
        let test = Case(seed: 9)
        let x = test.input([11, 123], from, .frame, 0...255)
        test.graph.output("cast", test.graph.cast(x, to))
        test.graph.output("affine", test.graph.affine(x, scale: 1 / 127.5, offset: -1, element: to))
        // An affine may round a product that the reference fuses: now and then the last bit.
        try test.check(1e-5, "\(from) to \(to)")
      }
    }
  }

  @Test(arguments: [ElementType.f32, .bf16]) func pixelsAreTheSame(element: ElementType) throws {
    let test = Case(seed: 10)
    let x = test.input([40, 50, 3], element, .frame, -1.5...1.5)
    test.graph.output("u8", test.graph.quantizePixels(x, scale: 127.5, offset: 127.5))
    test.graph.output("clamped", test.graph.clamp(x, -0.25, 0.5))
    try test.check(0)
  }

  @Test(arguments: 0..<20) func movingIsExact(seed: Int) throws {
    let test = Case(seed: UInt64(seed))
    let element: ElementType = [.f32, .bf16, .u8][seed % 3]
    let shape = (0..<3).map { _ in test.dice.pick(1...9) }
    let x = test.input(shape, element, .frame, 0...200)
    let graph = test.graph
    let order = [0, 1, 2].shuffled(using: &test.dice)
    graph.output("transposed", graph.transpose(x, order))
    let axis = test.dice.pick(0...2)
    let start = test.dice.pick(0...shape[axis] - 1)
    let part = graph.slice(x, axis: axis, start: start, count: test.dice.pick(1...shape[axis] - start))
    graph.output("part", part)
    graph.output("joined", graph.concat([x, part, x], axis: axis))
    graph.output("flat", graph.reshape(part, [graph.type(part).count]))
    graph.output("again", graph.transpose(graph.slice(part, axis: 0, start: 0, count: 1), order))
    let (h, w) = (test.dice.pick(1...20), test.dice.pick(1...20))
    graph.output("upsampled", graph.upsampleNearest(x, height: h, width: w))
    try test.check(0)
  }

  @Test func gatherReadsRowsAndSinusoidsAgree() throws {
    let test = Case(seed: 4)
    let index = test.input([30], .i32, .settings, -3...24)
    test.graph.output("rows", test.graph.gather(test.weight([20, 33]), index))
    let t = test.input([5], .f32, .settings, 0...999)
    test.graph.output(
      "even", test.graph.sinusoid(t, dimension: 320, flipSinToCos: true, frequencyShift: 0))
    test.graph.output("odd", test.graph.sinusoid(t, dimension: 33, flipSinToCos: false, frequencyShift: 1))
    // Angles up to 999 in f32: one unit in the last place of the angle is 6e-5.
    try test.check(1e-4)
  }
}
