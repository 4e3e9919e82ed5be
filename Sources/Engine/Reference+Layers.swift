/// The meaning of each op, as loops. Products are summed in double so that the reference's own rounding stays
/// far below that of what is tested against it.
enum Reference {
  /// What an op reads: a tensor, row-major.
  struct Operand {
    var type: TensorType
    var floats: [Float]
    var shape: [Int] { type.shape }
  }

  /// Legend: y, x output pixel; r, s kernel row and column; c, k channel in and out.
  static func convolution(_ settings: Convolution, _ operands: [Operand], _ result: TensorType) -> [Float] {
    let (input, weight) = (settings.upsamplesInput ? doubled(operands[0]) : operands[0], operands[1])
    let (height, width, channels) = (input.shape[0], input.shape[1], input.shape[2])
    let (rows, columns) = (weight.shape[1], weight.shape[2])
    let parts = TensorType(settings.parts(of: result.shape), result.element)
    let filters = parts.shape[2]
    var sums = [Double](repeating: 0, count: parts.count)
    for y in 0..<parts.shape[0] {
      for x in 0..<parts.shape[1] {
        let out = (y * parts.shape[1] + x) * filters
        for r in 0..<rows {
          let sourceY = y * settings.stride + r - settings.padding.top
          guard sourceY >= 0 && sourceY < height else { continue }
          for s in 0..<columns {
            let sourceX = x * settings.stride + s - settings.padding.left
            guard sourceX >= 0 && sourceX < width else { continue }
            let source = (sourceY * width + sourceX) * channels
            for k in 0..<filters {
              let kernel = ((k * rows + r) * columns + s) * channels
              sums[out + k] += dot(input.floats, source, weight.floats, kernel, channels)
            }
          }
        }
      }
    }
    let product = finish(sums, settings.epilogue, operands, filters)
    return settings.joinsPhases ? joinPhases(Operand(type: parts, floats: product), result) : product
  }

  private static func doubled(_ x: Operand) -> Operand {
    let type = TensorType([2 * x.shape[0], 2 * x.shape[1], x.shape[2]], x.type.element)
    return Operand(type: type, floats: upsample(x, type))
  }

  static func linear(_ epilogue: Epilogue, _ operands: [Operand], _ result: TensorType) -> [Float] {
    let (input, weight) = (operands[0], operands[1])
    let (width, features) = (weight.shape[1], weight.shape[0])
    let tokens = input.floats.count / width
    var sums = [Double](repeating: 0, count: tokens * features)
    for t in 0..<tokens {
      for k in 0..<features {
        sums[t * features + k] = dot(input.floats, t * width, weight.floats, k * width, width)
      }
    }
    let product = finish(sums, epilogue, operands, features)
    guard epilogue.gated else { return product }
    return stride(from: 0, to: product.count, by: 2).map {
      Float(Double(product[$0]) * apply(.gelu, Double(product[$0 + 1])))
    }
  }

  private static func dot(_ a: [Float], _ i: Int, _ b: [Float], _ j: Int, _ count: Int) -> Double {
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        var sum = 0.0
        for n in 0..<count { sum += Double(a[i + n]) * Double(b[j + n]) }
        return sum
      }
    }
  }

  private static func finish(_ sums: [Double], _ epilogue: Epilogue, _ operands: [Operand], _ features: Int)
    -> [Float]
  {
    let scale = epilogue.scaleIndex.map { operands[$0].floats }
    let bias = epilogue.biasIndex.map { operands[$0].floats }
    let residual = epilogue.residual ? operands[operands.count - 1].floats : nil
    let weightSums = epilogue.weightSumsIndex.map { operands[$0].floats }
    let moments = epilogue.momentsIndex.map { operands[$0].floats }
    var result = [Float](repeating: 0, count: sums.count)
    for i in 0..<sums.count {
      var value = sums[i]
      if let scale { value *= Double(scale[i % features]) }
      if let weightSums, let moments {
        let row = i / features * 2
        value = (value - Double(moments[row]) * Double(weightSums[i % features])) * Double(moments[row + 1])
      }
      if let bias { value += Double(bias[i % features]) }
      if let residual { value += Double(residual[i]) }
      result[i] = Float(epilogue.activation.map { apply($0, value) } ?? value)
    }
    return result
  }

  static func groupNorm(
    groups: Int, epsilon: Float, activation: Activation?, _ operands: [Operand]
  ) -> [Float] {
    let (x, gain, shift) = (operands[0].floats, operands[1].floats, operands[2].floats)
    let channels = operands[0].shape.last!
    let (positions, width) = (x.count / channels, channels / groups)
    let factors = operands.count > 3 ? operands[3].floats : nil
    var result = x
    for group in 0..<groups {
      let members = (0..<positions).flatMap { p in (0..<width).map { p * channels + group * width + $0 } }
      let (mean, inverse) = statistics(x, members, epsilon)
      for i in members {
        let value = (Double(x[i]) - mean) * inverse * Double(gain[i % channels]) + Double(shift[i % channels])
        result[i] = quantized(activation.map { apply($0, value) } ?? value, factors, i)
      }
    }
    return result
  }

  /// An element of an i8 result where there are factors, the number itself where there are none.
  static func quantized(_ x: Double, _ factors: [Float]?, _ index: Int) -> Float {
    guard let factors else { return Float(x) }
    let scaled = Float(x) * factors[index % factors.count]
    return scaled.isNaN ? 0 : min(max(scaled, -127), 127).rounded(.toNearestOrEven)
  }

  static func layerNorm(epsilon: Float, _ operands: [Operand]) -> [Float] {
    let (x, gain, shift) = (operands[0].floats, operands[1].floats, operands[2].floats)
    let width = operands[0].shape.last!
    let factors = operands.count > 3 ? operands[3].floats : nil
    var result = x
    for row in 0..<x.count / width {
      let members = Array(row * width..<(row + 1) * width)
      let (mean, inverse) = statistics(x, members, epsilon)
      for i in members {
        let value = (Double(x[i]) - mean) * inverse * Double(gain[i % width]) + Double(shift[i % width])
        result[i] = quantized(value, factors, i)
      }
    }
    return result
  }

  static func moments(epsilon: Float, _ operands: [Operand]) -> [Float] {
    let width = operands[0].shape.last!
    return (0..<operands[0].floats.count / width).flatMap { row in
      let (mean, inverse) = statistics(operands[0].floats, Array(row * width..<(row + 1) * width), epsilon)
      return [Float(mean), Float(inverse)]
    }
  }

  /// Mean and 1/√(variance + ε) of the members.
  private static func statistics(_ x: [Float], _ members: [Int], _ epsilon: Float) -> (Double, Double) {
    let mean = members.reduce(0) { $0 + Double(x[$1]) } / Double(members.count)
    let variance =
      members.reduce(0) { $0 + (Double(x[$1]) - mean) * (Double(x[$1]) - mean) } / Double(members.count)
    return (mean, 1 / (variance + Double(epsilon)).squareRoot())
  }

  static func attention(heads: Int, scale: Float, causal: Bool, _ operands: [Operand]) -> [Float] {
    let (q, k, v) = (operands[0], operands[1], operands[2])
    let (queries, keys, width) = (q.shape[0], k.shape[0], q.shape[1])
    let size = width / heads
    var result = [Float](repeating: 0, count: queries * width)
    for head in 0..<heads {
      for t in 0..<queries {
        let visible = causal ? min(t + 1, keys) : keys
        let scores = (0..<visible).map { s in
          dot(q.floats, t * width + head * size, k.floats, s * width + head * size, size) * Double(scale)
        }
        let highest = scores.max() ?? 0
        let weights = scores.map { exponential($0 - highest) }
        let total = weights.reduce(0, +)
        for d in 0..<size {
          let sum = (0..<visible).reduce(0.0) {
            $0 + weights[$1] * Double(v.floats[$1 * width + head * size + d])
          }
          result[t * width + head * size + d] = Float(sum / total)
        }
      }
    }
    return result
  }
}
