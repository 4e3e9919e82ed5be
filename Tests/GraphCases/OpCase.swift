import Engine

/// One op, or a few that belong together, in sizes drawn from a seed: what every backend is held against the reference
/// with.
public struct OpCase: Sendable, CustomStringConvertible {
  public enum Family: String, CaseIterable, Sendable {
    case convolution, narrowConvolution, wideConvolution, storedHalves, linear, views, weightsOfEveryCadence,
      attention,
      attentionOfSlices,
      groupNorm, layerNorm
    case normedLinear
    case activations, geglu, binaries, conversions, pixels, moving, tables
    case int8Products, quantizing, peaks

    /// Those that only a backend with products of i8 runs, or only one that computes in tiles runs otherwise.
    var isSpecial: Bool {
      switch self {
      case .int8Products, .quantizing, .peaks, .wideConvolution, .storedHalves: return true
      default: return false
      }
    }

    /// How many seeds are worth trying.
    var seeds: Int {
      switch self {
      case .convolution, .int8Products: return 60
      case .linear, .views: return 40
      case .attention: return 30
      case .groupNorm, .narrowConvolution, .storedHalves: return 24
      case .moving, .quantizing: return 20
      case .wideConvolution: return 27
      case .layerNorm, .normedLinear: return 12
      case .binaries: return 10
      case .activations, .peaks: return 6
      case .weightsOfEveryCadence, .attentionOfSlices, .geglu, .conversions, .pixels, .tables: return 1
      }
    }
  }

  public let family: Family
  public let seed: Int
  public var description: String { "\(family) \(seed)" }

  /// What every backend runs.
  public static let all = cases { !$0.isSpecial }
  /// What is only for backends with products of i8.
  public static let int8 = cases { [.int8Products, .quantizing, .peaks].contains($0) }
  /// Convolutions that the processor computes in tiles, large ones.
  public static let tiles = cases { $0 == .wideConvolution }
  /// Products that the processor computes with weights of 16 bits, many of them.
  public static let halves = cases { $0 == .storedHalves }

  private static func cases(_ isWanted: (Family) -> Bool) -> [OpCase] {
    Family.allCases.filter(isWanted).flatMap { family in
      (0..<family.seeds).map { OpCase(family: family, seed: $0) }
    }
  }

  /// The relative error that is allowed. f32: the order of sums, and polynomials for exp and erf. 16 bits: operands
  /// are exact on both sides and the result is rounded once (2^-9 for bf16, 2^-12 for f16, relative); attention may
  /// round its weights too.
  public func tolerance(_ element: ElementType) -> Double {
    switch (family, element) {
    case (.moving, _), (.pixels, _): return 0
    // Angles up to 999 in f32: one unit in the last place of the angle is 6e-5.
    case (.tables, _): return 1e-4
    case (.conversions, _): return 1e-5
    case (.peaks, _): return 0
    // Numbers next to a half may round to the other side: one in a few hundred with f32, and a quarter of them where
    // the reference stores bf16 before.
    case (.quantizing, .f32): return 3e-3
    case (.quantizing, _): return 2e-2
    case (_, .f32): return 1e-5
    case (.attention, .bf16), (.normedLinear, .bf16): return 8e-3
    case (.attentionOfSlices, .bf16): return 1e-2
    case (_, .bf16): return 4e-3
    case (.attention, _), (.attentionOfSlices, _), (.normedLinear, _): return 2e-3
    default: return 6e-4
    }
  }

  /// The graph with its numbers, computed in `element`.
  public func make(_ element: ElementType) -> Case {
    let test = Case(seed: seed + family.seeds * 1000)
    switch family {
    case .convolution: test.writeConvolution(seed, element)
    case .narrowConvolution: test.writeNarrowConvolution(seed, element)
    case .wideConvolution: test.writeWideConvolution(seed, element)
    case .storedHalves: test.writeStoredHalves(seed, element)
    case .linear: test.writeLinear(seed, element)
    case .views: test.writeViews(seed, element)
    case .weightsOfEveryCadence: test.writeWeightsOfEveryCadence(element)
    case .attention: test.writeAttention(seed, element)
    case .attentionOfSlices: test.writeAttentionOfSlices(element)
    case .groupNorm: test.writeGroupNorm(seed, element)
    case .layerNorm: test.writeLayerNorm(element)
    case .normedLinear: test.writeNormedLinear(seed, element)
    case .activations: test.writeActivation(seed, element)
    case .geglu:
      test.graph.output("y", test.graph.geglu(test.input([19, 2 * 1333], element, .frame, -4...4)))
    case .binaries: test.writeBinaries(seed, element)
    case .conversions: test.writeConversions()
    case .pixels: test.writePixels(element)
    case .moving: test.writeMoves([element, .u8][seed % 2])
    case .tables: test.writeTables()
    case .int8Products: test.writeInt8Product(seed, element)
    case .quantizing: test.writeQuantizing(seed, element)
    case .peaks: test.writePeaks(seed, element)
    }
    return test
  }
}

// MARK: int8

extension Case {
  /// A product of i8 and what follows it.
  fileprivate func writeInt8Product(_ seed: Int, _ element: ElementType) {
    let channels = [dice.pick(1...9), 16, 33, 64, 160][dice.pick(0...4)]
    let filters = [dice.pick(1...9), 16, 20, 64][dice.pick(0...3)]
    let kernel = [1, 3, 3][dice.pick(0...2)]
    let isPicture = seed % 2 == 0
    let shape = isPicture ? [dice.pick(3...13), dice.pick(3...17), channels] : [dice.pick(1...90), channels]
    let kernels = isPicture ? [filters, kernel, kernel, channels] : [filters, channels]
    let x = input(shape, .i8, .frame, -127...127)
    let w = weight(kernels, .i8, stored: .i8, -127...127)
    let scale = weight([filters], .f32, stored: .f32, 1e-4...2e-4)
    let bias = seed % 3 == 0 ? nil : weight([filters])
    var y: Value
    if isPicture {
      y = graph.convolution(
        x, weight: w, scale: scale, bias: bias, stride: dice.pick(1...2), padding: Padding(kernel / 2),
        element: element)
    } else {
      y = graph.linear(x, weight: w, scale: scale, bias: bias, element: element)
    }
    if seed % 5 < 2 {
      let residual = input(graph.shape(y), element)
      y = graph.add(y, seed % 4 < 2 ? residual : graph.activation(residual, .tanh))
    }
    if seed % 4 == 1 { y = graph.activation(y, .silu) }
    graph.output("y", y)
  }

  /// i8 out of what norms and gates make, and the products that read it: one, or queries, keys and values.
  fileprivate func writeQuantizing(_ seed: Int, _ element: ElementType) {
    let channels = 8 * [dice.pick(1...9), 16, 200][dice.pick(0...2)]
    let factors = weight([channels], .f32, stored: .f32, 20...90)
    let rows = dice.pick(1...70)
    let made: Value
    switch seed % 4 {
    case 0: made = input([rows, channels], element, .frame, -2...2)
    case 1:
      made = graph.geglu(input([rows, 2 * channels], element, .frame, -2...2))
    case 2:
      made = graph.layerNorm(
        input([rows, channels], element, .frame, 2...4), epsilon: 1e-5, gain: weight([channels]),
        shift: weight([channels]))
    default:
      let normed = graph.groupNorm(
        input([rows, 3, channels], element), groups: 4, epsilon: 1e-5, gain: weight([channels]),
        shift: weight([channels]))
      made = graph.reshape(graph.activation(normed, .silu), [3 * rows, channels])
    }
    let x = graph.quantize(made, factors: factors)
    func product() -> Value {
      graph.linear(
        x, weight: weight([32, channels], .i8, stored: .i8, -127...127),
        scale: weight([32], .f32, stored: .f32, 1e-5...2e-5), bias: nil, element: element)
    }
    if seed % 5 == 0 {
      graph.output("y", graph.attention(product(), product(), product(), heads: 2))
    } else {
      graph.output("x", x)
      graph.output("y", product())
    }
  }

  fileprivate func writePeaks(_ seed: Int, _ element: ElementType) {
    let shape = [dice.pick(1...9), dice.pick(1...7), [dice.pick(1...40), 1024, 1500][seed % 3]]
    graph.output("y", graph.peaks(input(shape, element, .frame, seed < 3 ? -3...3 : -9 ... -8)))
  }
}

// MARK: Products

extension Case {
  /// What a transformer block's norms are followed by: a product, a gated one, or one with a residual.
  fileprivate func writeNormedLinear(_ seed: Int, _ element: ElementType) {
    let (rows, width, features) = (
      [1, 7, 77, 130][dice.pick(0...3)], [64, 96, dice.pick(3...130)][seed % 3], 2 * dice.pick(1...70)
    )
    // Means as far from zero as the deviation is large, or several times that.
    let x = input([rows, width], element, .frame, seed % 2 == 0 ? -1...3 : 3...5)
    let normed = graph.layerNorm(x, epsilon: 1e-5, gain: weight([width]), shift: weight([width]))
    let w = weight([features, width], element, stored: [.f32, .f16, .bf16][seed % 3])
    let product = graph.linear(normed, weight: w, bias: seed % 4 < 2 ? weight([features]) : nil)
    switch seed / 3 % 3 {
    case 0: graph.output("y", product)
    case 1: graph.output("y", graph.geglu(product))
    default: graph.output("y", graph.add(product, input([rows, features], element)))
    }
  }

  fileprivate func writeConvolution(_ seed: Int, _ element: ElementType) {
    let kernel = [1, 3, 3, 5][dice.pick(0...3)]
    let channels = [dice.pick(1...9), 16, 33, 64][dice.pick(0...3)]
    let filters = [dice.pick(1...9), 16, 20, 64][dice.pick(0...3)]
    let size = (dice.pick(kernel...19), dice.pick(kernel...23))
    let stride = dice.pick(1...2)
    let padding = Padding(
      top: dice.pick(0...kernel / 2), left: dice.pick(0...kernel / 2), bottom: dice.pick(0...kernel / 2),
      right: dice.pick(0...kernel / 2))
    let x = input([size.0, size.1, channels], element)
    let w = weight([filters, kernel, kernel, channels], element, stored: [.f32, .f16, .bf16][seed % 3])
    let bias = seed % 4 < 2 ? weight([filters], seed % 3 == 0 ? element : .f32) : nil
    let plain = graph.convolution(x, weight: w, bias: bias, stride: stride, padding: padding)
    let type = graph.type(plain)
    let activation: Activation? = [nil, .silu, .relu, .gelu, .quickGelu, .tanh][seed % 6]
    let residual = seed % 5 < 2
    var operands = [x, w] + (bias.map { [$0] } ?? [])
    if residual { operands.append(input(type.shape, element)) }
    let epilogue = Epilogue(bias: bias != nil, residual: residual, activation: activation)
    let op = Op.convolution(Convolution(stride: stride, padding: padding, epilogue: epilogue))
    graph.output("y", graph.add(op, operands, type))
  }

  /// A decoder's last: many channels to a few, with edges on all sides.
  fileprivate func writeNarrowConvolution(_ seed: Int, _ element: ElementType) {
    let kernel = (dice.pick(1...4), [1, 3, 3, 5][dice.pick(0...3)])
    let padding = Padding(
      top: dice.pick(0...kernel.0 / 2), left: dice.pick(0...kernel.1 / 2),
      bottom: dice.pick(0...kernel.0 / 2),
      right: dice.pick(0...kernel.1 / 2))
    let size = (dice.pick(kernel.0...13), dice.pick(kernel.1...40))
    let x = input([size.0, size.1, 32 * dice.pick(1...4)], element)
    let w = weight(
      [dice.pick(1...5), kernel.0, kernel.1, graph.shape(x)[2]], element,
      stored: [.f32, .f16, .bf16][seed % 3])
    let y = graph.convolution(
      x, weight: w, bias: seed % 4 < 2 ? weight([graph.shape(w)[0]]) : nil, padding: padding)
    graph.output("y", seed % 3 == 0 ? graph.activation(y, .silu) : y)
  }

  /// Large enough to be computed in tiles where a backend does that, with edges that are no whole tile.
  fileprivate func writeWideConvolution(_ seed: Int, _ element: ElementType) {
    // Weights that are transformed once, and those that are transformed in every frame, by pieces of their outputs and
    // channels; and inputs in more than one block.
    let (channels, filters, side): (Int, Int, Int)
    switch seed % 3 {
    case 0: (channels, filters, side) = (16 * dice.pick(1...5), 16 * dice.pick(1...7), 30)
    case 1:
      (channels, filters, side) = (16 * dice.pick(5...9), 16 * dice.pick(24...28), seed % 2 == 0 ? 14 : 30)
    default: (channels, filters, side) = (16 * dice.pick(40...42), 16 * dice.pick(3...5), 32)
    }
    var padding = Padding(
      top: dice.pick(0...2), left: dice.pick(0...2), bottom: dice.pick(0...2), right: dice.pick(0...2))
    var x = input([side + dice.pick(0...7), side + dice.pick(4...15), channels], element)
    if seed >= 18 {
      // The picture is twice as large as what is there.
      let (height, width) = (side / 2 + dice.pick(0...5), side / 2 + dice.pick(2...9))
      x = graph.upsampleNearest(
        input([height, width, channels], element), height: 2 * height, width: 2 * width)
      padding = Padding(1)
    }
    let w = weight([filters, 3, 3, channels], element, stored: [.f32, .f16, .bf16][seed / 3 % 3])
    var y = graph.convolution(x, weight: w, bias: seed % 4 < 2 ? weight([filters]) : nil, padding: padding)
    if seed < 18, seed / 2 % 3 == 1 {
      let residual = input(graph.shape(y), element)
      y = graph.add(y, seed % 2 == 0 ? residual : graph.activation(residual, .tanh))
    }
    let activation: Activation? = [nil, .silu, .relu, .gelu][seed % 4]
    graph.output("y", activation.map { graph.activation(y, $0) } ?? y)
  }

  /// Weights of 16 bits, so many that they may stay so: linear layers, convolutions, and three layers that become one.
  /// Layers with a gate of any size.
  fileprivate func writeStoredHalves(_ seed: Int, _ element: ElementType) {
    let stored: ElementType = [.f16, .bf16][seed % 2]
    let width = dice.pick(100...700)
    let kernel = [1, 3, 3][dice.pick(0...2)]
    let features = (1 << 18) / (width * kernel * kernel) / 16 * 16 + 16 * dice.pick(1...3)
    var y: Value
    switch seed % 3 {
    case 0 where seed % 2 == 0:
      let (few, many) = (2 * dice.pick(1...40), 32 * dice.pick(1...9))
      let shape = [[many, few], [(1 << 18) / width / 32 * 32 + 32, width]][dice.pick(0...1)]
      let x = input([dice.pick(1...50), shape[1]], element)
      let bias = seed % 4 < 2 ? weight([shape[0]]) : nil
      y = graph.geglu(graph.linear(x, weight: weight(shape, element, stored: stored), bias: bias))
    case 0:
      let features = (1 << 18) / width / 16 * 16 + 16 * dice.pick(1...5)
      let x = input([[1, 5, 77, 200][dice.pick(0...3)], width], element)
      let bias = seed % 4 < 2 ? weight([features]) : nil
      y = graph.linear(x, weight: weight([features, width], element, stored: stored), bias: bias)
    case 1:
      let x = input([dice.pick(2...20), 1280], element)
      let parts = (0..<3).map { _ in
        graph.linear(x, weight: weight([1280, 1280], element, stored: stored), bias: nil)
      }
      y = graph.attention(parts[0], parts[1], parts[2], heads: 20, scale: 0.02)
    default:
      let x = input([dice.pick(1...9), dice.pick(1...21), width], element)
      let w = weight([features, kernel, kernel, width], element, stored: stored)
      y = graph.convolution(
        x, weight: w, bias: seed % 4 < 2 ? weight([features]) : nil,
        stride: kernel == 1 ? 1 : dice.pick(1...2),
        padding: Padding(kernel / 2))
    }
    if seed % 4 > 0 {
      let residual = input(graph.shape(y), element)
      y = graph.add(y, seed % 8 < 4 ? residual : graph.activation(residual, .tanh))
    }
    let activation: Activation? = [nil, .silu, .quickGelu][dice.pick(0...2)]
    graph.output("y", activation.map { graph.activation(y, $0) } ?? y)
  }

  fileprivate func writeLinear(_ seed: Int, _ element: ElementType) {
    let (rows, width, features) = (
      [1, 7, 77, 64][dice.pick(0...3)], dice.pick(1...130), [dice.pick(1...130), 64, 128][dice.pick(0...2)]
    )
    let x = input(seed % 7 == 0 ? [width] : [rows, width], element)
    let w = weight([features, width], element, stored: [.f32, .f16, .bf16][seed % 3])
    let bias = seed % 4 < 2 ? weight([features]) : nil
    let plain = graph.linear(x, weight: w, bias: bias)
    let type = graph.type(plain)
    let residual = seed % 3 == 1
    var operands = [x, w] + (bias.map { [$0] } ?? [])
    // A residual that nobody reads later may be overwritten; one that is an input may not.
    if residual {
      let source = input(type.shape, element)
      operands.append(seed % 2 == 0 ? source : graph.activation(source, .tanh))
    }
    let activation: Activation? = [nil, .gelu, .silu, .relu][seed % 4]
    let epilogue = Epilogue(bias: bias != nil, residual: residual, activation: activation)
    graph.output("y", graph.add(.linear(epilogue), operands, type))
  }

  /// Operands that are views into other memory, at odd addresses.
  fileprivate func writeViews(_ seed: Int, _ element: ElementType) {
    let (channels, filters) = (dice.pick(1...20), dice.pick(1...20))
    let x = graph.slice(input([7, 8, channels], element), axis: 0, start: 1, count: 5)
    let whole = graph.activation(input([9, 8, filters], element), .tanh)
    let residual = graph.slice(whole, axis: 0, start: 3, count: 5)
    let kernel = [1, 3][seed / 2 % 2]
    let w = weight([filters, kernel, kernel, channels], element)
    let y = graph.convolution(x, weight: w, padding: Padding(kernel / 2))
    graph.output("convolution", graph.add(y, residual))
    let matrix = weight([filters, channels], element)
    graph.output("linear", graph.add(graph.linear(x, weight: matrix), residual))
  }

  fileprivate func writeWeightsOfEveryCadence(_ element: ElementType) {
    let x = input([9, 24], element)
    for cadence in [Cadence.settings, .frame] {
      let w = graph.activation(input([40, 24], element, cadence), .tanh)
      let bias = graph.activation(input([40], .f32, cadence), .tanh)
      graph.output("y \(cadence)", graph.linear(x, weight: w, bias: bias))
      let kernel = graph.reshape(w, [40, 2, 2, 6])
      graph.output(
        "c \(cadence)", graph.convolution(input([5, 5, 6], element), weight: kernel, bias: bias))
    }
  }

  // MARK: Attention and norms

  fileprivate func writeAttention(_ seed: Int, _ element: ElementType) {
    let heads = dice.pick(1...5)
    let size = [4, 8, 13, 32, 40, 64, 80, 128, 160, 512][dice.pick(0...9)]
    let (queries, keys) = (dice.pick(1...150), dice.pick(1...200))
    let causal = seed % 3 == 0
    let q = input([queries, heads * size], element, .frame, -3...3)
    let k = input([causal ? queries : keys, heads * size], element, .frame, -3...3)
    let v = input([causal ? queries : keys, heads * size], element)
    graph.output("y", graph.attention(q, k, v, heads: heads, causal: causal))
  }

  fileprivate func writeAttentionOfSlices(_ element: ElementType) {
    let qkv = graph.linear(input([50, 96], element), weight: weight([288, 96], element))
    let parts = (0..<3).map { graph.slice(qkv, axis: 1, start: $0 * 96, count: 96) }
    graph.output("y", graph.attention(parts[0], parts[1], parts[2], heads: 4))
  }

  fileprivate func writeGroupNorm(_ seed: Int, _ element: ElementType) {
    let groups = [1, 2, 4, 8][dice.pick(0...3)]
    let channels = groups * [dice.pick(1...9), 16, 200][dice.pick(0...2)]
    let shape = [dice.pick(1...13), dice.pick(1...17), channels]
    // Far from zero with a small spread: what cancels in a naive variance.
    let x = input(shape, element, .frame, seed % 4 == 0 ? 9...11 : -1...1)
    let (gain, shift) = (weight([channels]), weight([channels], element))
    let op = Op.groupNorm(groups: groups, epsilon: 1e-5, activation: [nil, .silu, .relu][seed % 3])
    graph.output("y", graph.add(op, [x, gain, shift], graph.type(x)))
  }

  fileprivate func writeLayerNorm(_ element: ElementType) {
    let width = [dice.pick(2...40), 768, 1025, 2500][dice.pick(0...3)]
    let x = input([dice.pick(1...40), width], element, .frame, 2...4)
    let (gain, shift) = (weight([width], element), weight([width]))
    graph.output("y", graph.layerNorm(x, epsilon: 1e-5, gain: gain, shift: shift))
  }

  // MARK: Element by element

  fileprivate func writeActivation(_ seed: Int, _ element: ElementType) {
    let activation = [Activation.silu, .gelu, .quickGelu, .relu, .tanh, .exp][seed % 6]
    let x = input([37, 61], element, .frame, activation == .exp ? -20...5 : -9...9)
    let small = input([999], element, .frame, -0.2...0.2)
    let wide = input([1500], element, .frame, -60...60)
    graph.output("x", graph.activation(x, activation))
    graph.output("small", graph.activation(small, activation))
    if activation != .exp { graph.output("wide", graph.activation(wide, activation)) }
  }

  fileprivate func writeBinaries(_ seed: Int, _ element: ElementType) {
    let shapes: [([Int], [Int])] = [
      ([7, 9, 30], [7, 9, 30]), ([7, 9, 30], [30]), ([7, 9, 30], [1]), ([7, 9, 30], [9, 1]),
      ([7, 9, 30], [7, 1, 30]), ([7, 9, 30], [7, 1, 1]), ([7, 9, 30], [9, 30]), ([1300], [1300]),
      ([3, 2100], [2100]), ([2, 3, 4, 5], [3, 1, 5]),
    ]
    let (wide, narrow) = shapes[seed % shapes.count]
    for op in [Binary.add, .subtract, .multiply, .divide] {
      let (a, b) = (input(wide, element), input(narrow, element, .frame, 0.5...2))
      graph.output("\(op)", graph.binary(op, a, b))
    }
  }

  fileprivate func writeConversions() {
    for from in [ElementType.f32, .bf16, .f16, .u8, .i32] {
      for to in [ElementType.f32, .bf16, .f16] {
        let x = input([11, 123], from, .frame, 0...255)
        graph.output("\(from) to \(to)", graph.cast(x, to))
        // An affine may round a product that the reference fuses: now and then the last bit.
        graph.output("\(from) to \(to) scaled", graph.affine(x, scale: 1 / 127.5, offset: -1, element: to))
      }
    }
  }

  fileprivate func writePixels(_ element: ElementType) {
    let x = input([40, 50, 3], element, .frame, -1.5...1.5)
    graph.output("u8", graph.quantizePixels(x, scale: 127.5, offset: 127.5))
    graph.output("clamped", graph.clamp(x, -0.25, 0.5))
  }

  // MARK: Moving

  fileprivate func writeMoves(_ element: ElementType) {
    let shape = (0..<3).map { _ in dice.pick(1...9) }
    let x = input(shape, element, .frame, 0...200)
    let order = [0, 1, 2].shuffled(using: &dice)
    graph.output("transposed", graph.transpose(x, order))
    let axis = dice.pick(0...2)
    let start = dice.pick(0...shape[axis] - 1)
    let part = graph.slice(x, axis: axis, start: start, count: dice.pick(1...shape[axis] - start))
    graph.output("part", part)
    graph.output("joined", graph.concat([x, part, x], axis: axis))
    graph.output("flat", graph.reshape(part, [graph.type(part).count]))
    graph.output("again", graph.transpose(graph.slice(part, axis: 0, start: 0, count: 1), order))
    let (h, w) = (dice.pick(1...20), dice.pick(1...20))
    graph.output("upsampled", graph.upsampleNearest(x, height: h, width: w))
  }

  fileprivate func writeTables() {
    let index = input([30], .i32, .settings, -3...24)
    graph.output("rows", graph.gather(weight([20, 33]), index))
    let t = input([5], .f32, .settings, 0...999)
    graph.output("even", graph.sinusoid(t, dimension: 320, flipSinToCos: true, frequencyShift: 0))
    graph.output("odd", graph.sinusoid(t, dimension: 33, flipSinToCos: false, frequencyShift: 1))
  }
}
