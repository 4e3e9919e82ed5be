import Engine
import Testing

/// Tolerances. f32: sums of up to a few thousand products in another order than the reference's, 1e-5.
/// bf16: operands are exact in both, the result is rounded once to 8 bits (relative 2^-9 = 2e-3); a residual
/// or an activation works on the unrounded sum in both.
private let f32Tolerance = 1e-5
private let bf16Tolerance = 4e-3

@Suite struct ProductTests {
  @Test(arguments: 0..<60) func convolutionsAgree(seed: Int) throws {
    let test = Case(seed: UInt64(seed))
    let element = productElements[seed % productElements.count]
    let kernel = [1, 3, 3, 5][test.dice.pick(0...3)]
    let channels = [test.dice.pick(1...9), 16, 33, 64][test.dice.pick(0...3)]
    let filters = [test.dice.pick(1...9), 16, 20, 64][test.dice.pick(0...3)]
    let size = (test.dice.pick(kernel...19), test.dice.pick(kernel...23))
    let stride = test.dice.pick(1...2)
    let padding = Padding(
      top: test.dice.pick(0...kernel / 2), left: test.dice.pick(0...kernel / 2),
      bottom: test.dice.pick(0...kernel / 2), right: test.dice.pick(0...kernel / 2))
    let x = test.input([size.0, size.1, channels], element)
    let w = test.weight([filters, kernel, kernel, channels], element, stored: [.f32, .f16, .bf16][seed % 3])
    let bias = seed % 4 < 2 ? test.weight([filters], seed % 3 == 0 ? element : .f32) : nil
    let plain = test.graph.convolution(x, weight: w, bias: bias, stride: stride, padding: padding)
    let type = test.graph.type(plain)
    let activation: Activation? = [nil, .silu, .relu, .gelu, .quickGelu, .tanh][seed % 6]
    let residual = seed % 5 < 2
    var operands = [x, w] + (bias.map { [$0] } ?? [])
    if residual { operands.append(test.input(type.shape, element)) }
    let epilogue = Epilogue(bias: bias != nil, residual: residual, activation: activation)
    let y = test.graph.add(
      .convolution(Convolution(stride: stride, padding: padding, epilogue: epilogue)), operands, type)
    test.graph.output("y", y)
    try test.check(element == .f32 ? f32Tolerance : bf16Tolerance, "\(test.graph[y])")
  }

  @Test(arguments: 0..<40) func linearsAgree(seed: Int) throws {
    let test = Case(seed: 1000 + UInt64(seed))
    let element = productElements[seed % productElements.count]
    let (rows, width, features) = (
      [1, 7, 77, 64][test.dice.pick(0...3)], test.dice.pick(1...130), test.dice.pick(1...130)
    )
    let x = test.input(seed % 7 == 0 ? [width] : [rows, width], element)
    let w = test.weight([features, width], element, stored: [.f32, .f16, .bf16][seed % 3])
    let bias = seed % 4 < 2 ? test.weight([features]) : nil
    let plain = test.graph.linear(x, weight: w, bias: bias)
    let type = test.graph.type(plain)
    let residual = seed % 3 == 1
    var operands = [x, w] + (bias.map { [$0] } ?? [])
    // A residual that nobody reads later may be overwritten; one that is an input may not.
    if residual {
      let source = test.input(type.shape, element)
      operands.append(seed % 2 == 0 ? source : test.graph.activation(source, .tanh))
    }
    let activation: Activation? = [nil, .gelu, .silu, .relu][seed % 4]
    let epilogue = Epilogue(bias: bias != nil, residual: residual, activation: activation)
    test.graph.output("y", test.graph.add(.linear(epilogue), operands, type))
    try test.check(element == .f32 ? f32Tolerance : bf16Tolerance, "\(type)")
  }

  /// Operands that are views into other memory, at odd addresses.
  @Test(arguments: 0..<40) func operandsMayBeViews(seed: Int) throws {
    let test = Case(seed: 3000 + UInt64(seed))
    let element = productElements[seed % productElements.count]
    let (channels, filters) = (test.dice.pick(1...20), test.dice.pick(1...20))
    let x = test.graph.slice(test.input([7, 8, channels], element), axis: 0, start: 1, count: 5)
    let whole = test.graph.activation(test.input([9, 8, filters], element), .tanh)
    let residual = test.graph.slice(whole, axis: 0, start: 3, count: 5)
    let kernel = [1, 3][seed / 2 % 2]
    let w = test.weight([filters, kernel, kernel, channels], element)
    let y = test.graph.convolution(x, weight: w, padding: Padding(kernel / 2))
    test.graph.output("convolution", test.graph.add(y, residual))
    let matrix = test.weight([filters, channels], element)
    test.graph.output("linear", test.graph.add(test.graph.linear(x, weight: matrix), residual))
    try test.check(element == .f32 ? f32Tolerance : bf16Tolerance, "\(channels) \(filters) \(kernel)")
  }

  @Test func weightsOfEveryCadenceArePacked() throws {
    let test = Case(seed: 5)
    let x = test.input([9, 24])
    for cadence in [Cadence.settings, .frame] {
      let w = test.graph.activation(test.input([40, 24], .f32, cadence), .tanh)
      let bias = test.graph.activation(test.input([40], .f32, cadence), .tanh)
      test.graph.output("y \(cadence)", test.graph.linear(x, weight: w, bias: bias))
      let kernel = test.graph.reshape(w, [40, 2, 2, 6])
      test.graph.output(
        "c \(cadence)", test.graph.convolution(test.input([5, 5, 6]), weight: kernel, bias: bias))
    }
    try test.check(f32Tolerance)
  }

  @Test(arguments: 0..<30) func attentionAgrees(seed: Int) throws {
    let test = Case(seed: 2000 + UInt64(seed))
    let element = productElements[seed % productElements.count]
    let heads = test.dice.pick(1...5)
    let size = [4, 8, 13, 32, 40, 64, 80, 128, 160, 512][test.dice.pick(0...9)]
    let (queries, keys) = (test.dice.pick(1...150), test.dice.pick(1...200))
    let causal = seed % 3 == 0
    let q = test.input([queries, heads * size], element, .frame, -3...3)
    let k = test.input([causal ? queries : keys, heads * size], element, .frame, -3...3)
    let v = test.input([causal ? queries : keys, heads * size], element)
    test.graph.output("y", test.graph.attention(q, k, v, heads: heads, causal: causal))
    // bf16: probabilities may be rounded before they meet the values, one more rounding than the result's.
    try test.check(element == .f32 ? f32Tolerance : 8e-3, "heads \(heads) of \(size), \(queries)x\(keys)")
  }

  @Test func attentionReadsSlicesOfOneProduct() throws {
    for element in productElements {
      let test = Case(seed: 77)
      let x = test.input([50, 96], element)
      let qkv = test.graph.linear(x, weight: test.weight([288, 96], element))
      let parts = (0..<3).map { test.graph.slice(qkv, axis: 1, start: $0 * 96, count: 96) }
      test.graph.output("y", test.graph.attention(parts[0], parts[1], parts[2], heads: 4))
      try test.check(element == .f32 ? f32Tolerance : 1e-2)
    }
  }
}
