import Glibc

extension Reference {
  static func exponential(_ x: Double) -> Double { exp(x) }

  static func apply(_ activation: Activation, _ x: Double) -> Double {
    switch activation {
    case .silu: return x / (1 + exp(-x))
    case .gelu: return 0.5 * x * (1 + erf(x * 0.5.squareRoot()))
    case .quickGelu: return x / (1 + exp(-1.702 * x))
    case .relu: return max(x, 0)
    case .tanh: return Glibc.tanh(x)
    case .exp: return exp(x)
    }
  }

  static func evaluate(_ op: Op, _ operands: [Operand], _ result: TensorType) -> [Float] {
    switch op {
    case .input, .weight, .constant: preconditionFailure("sources are not evaluated")
    case .convolution(let settings): return convolution(settings, operands, result)
    case .linear(let epilogue): return linear(epilogue, operands, result)
    case .groupNorm(let groups, let epsilon, let activation):
      return groupNorm(groups: groups, epsilon: epsilon, activation: activation, operands)
    case .layerNorm(let epsilon): return layerNorm(epsilon: epsilon, operands)
    case .moments(let epsilon): return moments(epsilon: epsilon, operands)
    case .attention(let heads, let scale, let causal):
      return attention(heads: heads, scale: scale, causal: causal, operands)
    case .activation(let kind): return operands[0].floats.map { Float(apply(kind, Double($0))) }
    case .geglu: return geglu(operands, result)
    case .binary(let kind): return binary(kind, operands[0], operands[1])
    case .affine(let scale, let offset): return operands[0].floats.map { $0 * scale + offset }
    case .quantizePixels(let scale, let offset):
      return operands[0].floats.map { quantize($0 * scale + offset) }
    case .clamp(let low, let high): return operands[0].floats.map { min(max($0, low), high) }
    case .quantize:
      return operands[0].floats.enumerated().map { quantized(Double($1), operands[1].floats, $0) }
    case .peaks: return peaks(operands[0])
    case .cast, .reshape: return operands[0].floats
    case .transpose(let order): return transpose(operands[0], order, result)
    case .slice(let axis, let start, let count): return slice(operands[0], axis, start, count)
    case .concat(let axis): return concat(operands, axis, result)
    case .upsampleNearest: return upsample(operands[0], result)
    case .joinPhases: return joinPhases(operands[0], result)
    case .gather: return gather(operands[0], operands[1])
    case .sinusoid(let dimension, let flip, let shift): return sinusoid(operands[0], dimension, flip, shift)
    }
  }

  private static func quantize(_ x: Float) -> Float {
    x.isNaN ? 0 : min(max(x, 0), 255).rounded(.toNearestOrEven)
  }

  private static func geglu(_ operands: [Operand], _ result: TensorType) -> [Float] {
    let (x, width) = (operands[0].floats, result.shape.last!)
    let factors = operands.count > 1 ? operands[1].floats : nil
    return (0..<result.count).map { i in
      let row = i / width * 2 * width + i % width
      return quantized(Double(x[row]) * apply(.gelu, Double(x[row + width])), factors, i)
    }
  }

  private static func peaks(_ x: Operand) -> [Float] {
    let width = x.shape.last!
    return x.floats.enumerated().reduce(into: [Float](repeating: 0, count: width)) { peaks, entry in
      let size = abs(entry.element)
      if size > peaks[entry.offset % width] { peaks[entry.offset % width] = size }
    }
  }

  private static func binary(_ kind: Binary, _ a: Operand, _ b: Operand) -> [Float] {
    let strides = broadcastStrides(b.shape, over: a.shape)
    var index = [Int](repeating: 0, count: a.shape.count)
    var result = a.floats
    for i in 0..<result.count {
      let other = b.floats[zip(index, strides).reduce(0) { $0 + $1.0 * $1.1 }]
      switch kind {
      case .add: result[i] += other
      case .subtract: result[i] -= other
      case .multiply: result[i] *= other
      case .divide: result[i] /= other
      }
      advance(&index, a.shape)
    }
    return result
  }

  /// Strides of `narrow` walked in step with `wide`; 0 where it repeats.
  private static func broadcastStrides(_ narrow: [Int], over wide: [Int]) -> [Int] {
    var strides = [Int](repeating: 0, count: wide.count)
    var step = 1
    for axis in (0..<narrow.count).reversed() {
      strides[axis + wide.count - narrow.count] = narrow[axis] == 1 ? 0 : step
      step *= narrow[axis]
    }
    return strides
  }

  private static func advance(_ index: inout [Int], _ shape: [Int]) {
    for axis in shape.indices.reversed() {
      index[axis] += 1
      if index[axis] < shape[axis] { return }
      index[axis] = 0
    }
  }

  private static func transpose(_ x: Operand, _ order: [Int], _ result: TensorType) -> [Float] {
    let sourceStrides = broadcastStrides(x.shape.map { $0 }, over: x.shape)
    let strides = order.map { sourceStrides[$0] }
    var index = [Int](repeating: 0, count: order.count)
    return (0..<result.count).map { _ in
      defer { advance(&index, result.shape) }
      return x.floats[zip(index, strides).reduce(0) { $0 + $1.0 * $1.1 }]
    }
  }

  private static func slice(_ x: Operand, _ axis: Int, _ start: Int, _ count: Int) -> [Float] {
    let inner = x.shape[(axis + 1)...].reduce(1, *)
    let outer = x.shape[..<axis].reduce(1, *)
    return (0..<outer).flatMap { o -> ArraySlice<Float> in
      let first = (o * x.shape[axis] + start) * inner
      return x.floats[first..<first + count * inner]
    }
  }

  private static func concat(_ parts: [Operand], _ axis: Int, _ result: TensorType) -> [Float] {
    let outer = result.shape[..<axis].reduce(1, *)
    return (0..<outer).flatMap { o in
      parts.flatMap { part -> ArraySlice<Float> in
        let inner = part.shape[axis...].reduce(1, *)
        return part.floats[o * inner..<(o + 1) * inner]
      }
    }
  }

  static func upsample(_ x: Operand, _ result: TensorType) -> [Float] {
    let (height, width, channels) = (x.shape[0], x.shape[1], x.shape[2])
    var picture: [Float] = []
    picture.reserveCapacity(result.count)
    for y in 0..<result.shape[0] {
      let row = y * height / result.shape[0] * width
      for column in 0..<result.shape[1] {
        let source = (row + column * width / result.shape[1]) * channels
        picture += x.floats[source..<source + channels]
      }
    }
    return picture
  }

  static func joinPhases(_ x: Operand, _ result: TensorType) -> [Float] {
    let (width, channels) = (result.shape[1], result.shape[2])
    return (0..<result.count).map { i in
      let (row, column, channel) = (i / channels / width, i / channels % width, i % channels)
      let (a, b) = (row % 2, column % 2)
      let position = (row / 2 + a) * x.shape[1] + column / 2 + b
      return x.floats[(position * 4 + 2 * a + b) * channels + channel]
    }
  }

  private static func gather(_ table: Operand, _ index: Operand) -> [Float] {
    let width = table.shape[1]
    return index.floats.flatMap { i -> ArraySlice<Float> in
      let row = i >= 0 && Int(i) < table.shape[0] ? Int(i) : 0
      return table.floats[row * width..<(row + 1) * width]
    }
  }

  /// `get_timestep_embedding` of diffusers: exponents −ln(10000)·i/(half − shift), sine then cosine, or
  /// flipped; an odd dimension ends in a zero.
  private static func sinusoid(_ t: Operand, _ dimension: Int, _ flip: Bool, _ shift: Float) -> [Float] {
    let half = dimension / 2
    return t.floats.flatMap { time -> [Float] in
      // Single precision where diffusers has it: an angle of 999 keeps the same rounding.
      let angles = (0..<half).map { i in
        expf(-logf(10000) * Float(i) / (Float(half) - shift)) * time
      }
      let (sines, cosines) = (angles.map { sinf($0) }, angles.map { cosf($0) })
      return (flip ? cosines + sines : sines + cosines) + (dimension % 2 == 1 ? [0] : [])
    }
  }
}
