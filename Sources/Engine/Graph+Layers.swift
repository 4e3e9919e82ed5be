/// The vocabulary in which models are written. Each function checks shapes as a programmer's contract:
/// shapes that come from a file are checked by `weight` before they reach a layer.
extension Graph {
  /// A value the caller writes at `cadence`.
  public func input(_ name: String, _ shape: [Int], _ element: ElementType, _ cadence: Cadence) -> Value {
    add(.input(name), [], TensorType(shape, element), floor: cadence)
  }

  /// A tensor of the checkpoint with the shape it has there, stored as `element`.
  public func weight(_ name: String, _ shape: [Int], _ element: ElementType) -> Value {
    add(.weight(name), [], TensorType(shape, element))
  }

  /// A literal, row-major.
  public func constant(_ numbers: [Float], _ shape: [Int]) -> Value {
    precondition(numbers.count == shape.reduce(1, *))
    return add(.constant(numbers), [], TensorType(shape, .f32))
  }

  /// `x [H, W, C]`, `weight [K, R, S, C]`, `bias [K]` → `[H', W', K]`, H' = ⌊(H + top + bottom - R)/stride⌋ +
  /// 1 and W' likewise (`Op.convolution`).
  public func convolution(
    _ x: Value, weight: Value, bias: Value? = nil, stride: Int = 1, padding: Padding = Padding(0)
  ) -> Value {
    let result = convolved(x, weight, stride, padding)
    let op = Op.convolution(
      Convolution(stride: stride, padding: padding, epilogue: Epilogue(bias: bias != nil)))
    return add(op, [x, weight] + (bias.map { [$0] } ?? []), TensorType(result, type(x).element))
  }

  /// `x [..., C]`, `weight [K, C]`, `bias [K]` → `[..., K]`.
  public func linear(_ x: Value, weight: Value, bias: Value? = nil) -> Value {
    let (input, matrix) = (shape(x), shape(weight))
    precondition(matrix.count == 2 && input.last == matrix[1], "\(input) linear \(matrix)")
    return add(
      .linear(Epilogue(bias: bias != nil)), [x, weight] + (bias.map { [$0] } ?? []),
      TensorType(input.dropLast() + [matrix[0]], type(x).element))
  }

  /// `x i8 [H, W, C]`, `weight i8 [K, R, S, C]`, `scale f32 [K]`, `bias [K]` → `[H', W', K]` of `element`.
  public func convolution(
    _ x: Value, weight: Value, scale: Value, bias: Value?, stride: Int, padding: Padding, element: ElementType
  ) -> Value {
    precondition(type(x).element == .i8 && type(weight).element == .i8 && shape(scale) == [shape(weight)[0]])
    let result = convolved(x, weight, stride, padding)
    let epilogue = Epilogue(bias: bias != nil, scaled: true)
    return add(
      .convolution(Convolution(stride: stride, padding: padding, epilogue: epilogue)),
      [x, weight, scale] + (bias.map { [$0] } ?? []), TensorType(result, element))
  }

  private func convolved(_ x: Value, _ weight: Value, _ stride: Int, _ padding: Padding) -> [Int] {
    let (input, kernel) = (shape(x), shape(weight))
    precondition(input.count == 3 && kernel.count == 4 && input[2] == kernel[3], "\(input) conv \(kernel)")
    let height = (input[0] + padding.top + padding.bottom - kernel[1]) / stride + 1
    let width = (input[1] + padding.left + padding.right - kernel[2]) / stride + 1
    return [height, width, kernel[0]]
  }

  /// `x i8 [..., C]`, `weight i8 [K, C]`, `scale f32 [K]` → `[..., K]` of `element`.
  public func linear(_ x: Value, weight: Value, scale: Value, bias: Value?, element: ElementType) -> Value {
    let (input, matrix) = (shape(x), shape(weight))
    precondition(type(x).element == .i8 && type(weight).element == .i8 && shape(scale) == [matrix[0]])
    precondition(matrix.count == 2 && input.last == matrix[1], "\(input) linear \(matrix)")
    return add(
      .linear(Epilogue(bias: bias != nil, scaled: true)), [x, weight, scale] + (bias.map { [$0] } ?? []),
      TensorType(input.dropLast() + [matrix[0]], element))
  }

  /// `x [..., C]`, `gain [C]`, `shift [C]` → `[..., C]`; statistics over all leading positions and C/groups
  /// channels.
  public func groupNorm(_ x: Value, groups: Int, epsilon: Float, gain: Value, shift: Value) -> Value {
    precondition(shape(x).last! % groups == 0 && shape(gain) == [shape(x).last!])
    return add(.groupNorm(groups: groups, epsilon: epsilon, activation: nil), [x, gain, shift], type(x))
  }

  /// `x [..., C]`, `gain [C]`, `shift [C]` → `[..., C]`; statistics over the last dimension.
  public func layerNorm(_ x: Value, epsilon: Float, gain: Value, shift: Value) -> Value {
    precondition(shape(gain) == [shape(x).last!])
    return add(.layerNorm(epsilon: epsilon), [x, gain, shift], type(x))
  }

  /// `x [..., C]` → f32 `[..., 2]`: mean and 1/√(variance + ε) over the last dimension.
  public func moments(_ x: Value, epsilon: Float) -> Value {
    add(.moments(epsilon: epsilon), [x], TensorType(shape(x).dropLast() + [2], .f32))
  }

  /// `q [T, C]`, `k`, `v` `[S, C]` → `[T, C]`: softmax(q·kᵀ·scale)·v for each of `heads` parts of C; `scale`
  /// is 1/√(C/heads) where it is not given.
  public func attention(
    _ q: Value, _ k: Value, _ v: Value, heads: Int, scale: Float? = nil, causal: Bool = false
  ) -> Value {
    precondition(shape(q)[1] == shape(k)[1] && shape(k) == shape(v) && shape(q)[1] % heads == 0)
    let headDimension = Float(shape(q)[1] / heads)
    return add(
      .attention(heads: heads, scale: scale ?? 1 / headDimension.squareRoot(), causal: causal), [q, k, v],
      type(q))
  }

  /// Of each element.
  public func activation(_ x: Value, _ kind: Activation) -> Value { add(.activation(kind), [x], type(x)) }

  /// `x [..., 2C]` → `[..., C]`: the first half times gelu of the second.
  public func geglu(_ x: Value) -> Value {
    let input = shape(x)
    precondition(input.last! % 2 == 0)
    return add(.geglu, [x], TensorType(input.dropLast() + [input.last! / 2], type(x).element))
  }

  /// The second operand broadcasts to the first; their element types must agree.
  public func binary(_ op: Binary, _ a: Value, _ b: Value) -> Value {
    let (wide, narrow) = (shape(a), shape(b))
    precondition(type(a).element == type(b).element, "\(type(a)) \(op) \(type(b))")
    precondition(
      narrow.count <= wide.count
        && zip(narrow.reversed(), wide.reversed()).allSatisfy { $0 == $1 || $0 == 1 },
      "\(type(a)) \(op) \(type(b))")
    return add(.binary(op), [a, b], type(a))
  }
  /// `a + b`, as `binary` has it.
  public func add(_ a: Value, _ b: Value) -> Value { binary(.add, a, b) }
  /// `a - b`, as `binary` has it.
  public func subtract(_ a: Value, _ b: Value) -> Value { binary(.subtract, a, b) }
  /// `a · b`, as `binary` has it.
  public func multiply(_ a: Value, _ b: Value) -> Value { binary(.multiply, a, b) }
  /// `a / b`, as `binary` has it.
  public func divide(_ a: Value, _ b: Value) -> Value { binary(.divide, a, b) }

  /// `x·scale + offset`, stored as `element`, that of x where there is none; u8 input gives 0...255.
  public func affine(_ x: Value, scale: Float, offset: Float, element: ElementType? = nil) -> Value {
    add(.affine(scale: scale, offset: offset), [x], TensorType(shape(x), element ?? type(x).element))
  }
  /// `round(clamp(x·scale + offset, 0, 255))` as u8.
  public func quantizePixels(_ x: Value, scale: Float, offset: Float) -> Value {
    add(.quantizePixels(scale: scale, offset: offset), [x], TensorType(shape(x), .u8))
  }
  /// `x [..., C]`, `factors f32 [C]` → i8 `[..., C]`: round(clamp(x·factor, -127, 127)).
  public func quantize(_ x: Value, factors: Value) -> Value {
    precondition(type(factors) == TensorType([shape(x).last!], .f32))
    return add(.quantize, [x, factors], TensorType(shape(x), .i8))
  }
  /// `x [..., C]` → f32 `[C]`: the largest absolute value over all leading positions.
  public func peaks(_ x: Value) -> Value { add(.peaks, [x], TensorType([shape(x).last!], .f32)) }
  /// Each element within `low...high`.
  public func clamp(_ x: Value, _ low: Float, _ high: Float) -> Value {
    add(.clamp(low: low, high: high), [x], type(x))
  }
  /// The same numbers, stored as `element`.
  public func cast(_ x: Value, _ element: ElementType) -> Value {
    type(x).element == element ? x : add(.cast, [x], TensorType(shape(x), element))
  }

  /// The same elements in a shape of as many.
  public func reshape(_ x: Value, _ shape: [Int]) -> Value {
    precondition(shape.reduce(1, *) == type(x).count, "\(type(x)) as \(shape)")
    return shape == self.shape(x) ? x : add(.reshape, [x], TensorType(shape, type(x).element))
  }
  /// `result.shape[i] = x.shape[order[i]]`
  public func transpose(_ x: Value, _ order: [Int]) -> Value {
    precondition(order.sorted() == Array(0..<shape(x).count))
    return add(.transpose(order), [x], TensorType(order.map { shape(x)[$0] }, type(x).element))
  }
  /// `count` entries from `start` along `axis`.
  public func slice(_ x: Value, axis: Int, start: Int, count: Int) -> Value {
    var result = shape(x)
    precondition(start >= 0 && count > 0 && start + count <= result[axis])
    result[axis] = count
    return add(.slice(axis: axis, start: start, count: count), [x], TensorType(result, type(x).element))
  }
  /// The parts behind each other along `axis`; their other sizes agree.
  public func concat(_ parts: [Value], axis: Int) -> Value {
    var result = shape(parts[0])
    result[axis] = parts.reduce(0) { $0 + shape($1)[axis] }
    return add(.concat(axis: axis), parts, TensorType(result, type(parts[0]).element))
  }
  /// `x [H, W, C]` → `[height, width, C]`, the nearest source.
  public func upsampleNearest(_ x: Value, height: Int, width: Int) -> Value {
    add(
      .upsampleNearest(height: height, width: width), [x],
      TensorType([height, width, shape(x)[2]], type(x).element))
  }
  /// `x [H+1, W+1, 4K]` → `[2H, 2W, K]`, as `Op.joinPhases` says.
  public func joinPhases(_ x: Value) -> Value {
    let input = shape(x)
    precondition(input.count == 3 && input[0] > 1 && input[1] > 1 && input[2] % 4 == 0)
    return add(
      .joinPhases, [x],
      TensorType([2 * (input[0] - 1), 2 * (input[1] - 1), input[2] / 4], type(x).element))
  }
  /// `table [V, D]`, `index i32 [T]` → `[T, D]`.
  public func gather(_ table: Value, _ index: Value) -> Value {
    precondition(type(index).element == .i32 && shape(index).count == 1 && shape(table).count == 2)
    return add(.gather, [table, index], TensorType([shape(index)[0], shape(table)[1]], type(table).element))
  }
  /// `t f32 [n]` → f32 `[n, dimension]`: the sinusoidal embedding of DDPM.
  public func sinusoid(_ t: Value, dimension: Int, flipSinToCos: Bool, frequencyShift: Float) -> Value {
    add(
      .sinusoid(dimension: dimension, flipSinToCos: flipSinToCos, frequencyShift: frequencyShift), [t],
      TensorType([shape(t)[0], dimension], .f32))
  }
}
