import CKernels
import Engine

extension Lowering {
  /// `function` of every element, converted to the result's element type.
  func map(_ x: Operand, _ result: Operand, _ function: tc_function, _ a: Float = 0, _ b: Float = 0)
    -> any Runnable
  {
    let (rows, columns) = Self.merged([x, result])
    let parameters = tc_map(
      source: x.pointer, destination: result.pointer, rows: rows, columns: columns,
      source_stride: rows == 1 ? columns : x.rowStride,
      destination_stride: rows == 1 ? columns : result.rowStride,
      source_element: Self.code(x.type.element), destination_element: Self.code(result.type.element),
      function: function, a: a, b: b)
    return KernelWork(
      tc_kernel(tc_kernel_map), parameters, count: rows * tc_chunks(columns), grain: Self.grain(columns))
  }

  func geglu(_ x: Operand, _ factors: Buffer?, _ result: Operand) -> any Runnable {
    let parameters = tc_geglu(
      source: x.pointer, destination: result.pointer, rows: result.rows, columns: result.columns,
      source_stride: x.rowStride, destination_stride: result.rowStride, element: Self.code(x.type.element),
      quantum: Self.floats(factors))
    return KernelWork(
      tc_kernel(tc_kernel_geglu), parameters, count: result.rows * tc_chunks(result.columns),
      grain: Self.grain(result.columns), keep: factors.map { [$0] } ?? [])
  }

  func quantize(_ x: Operand, _ factors: Buffer, _ result: Operand) -> any Runnable {
    let parameters = tc_quantization(
      source: x.pointer, destination: result.pointer, rows: x.rows, columns: x.columns,
      source_stride: x.rowStride, destination_stride: result.rowStride, element: Self.code(x.type.element),
      factors: Self.floats(factors))
    return KernelWork(
      tc_kernel(tc_kernel_quantize), parameters, count: x.rows * tc_chunks(x.columns),
      grain: Self.grain(x.columns), keep: [factors])
  }

  func peaks(_ x: Operand, _ result: Operand) -> any Runnable {
    let parameters = tc_peaks(
      source: x.pointer, destination: result.pointer.assumingMemoryBound(to: Float.self), rows: x.rows,
      columns: x.columns, source_stride: x.rowStride, element: Self.code(x.type.element))
    return KernelWork(tc_kernel(tc_kernel_peaks), parameters, count: tc_chunks(x.columns), grain: 1)
  }

  /// The numbers of a packed vector; nil where there is none.
  static func floats(_ vector: Buffer?) -> UnsafePointer<Float>? {
    vector.map { UnsafePointer($0.pointer.assumingMemoryBound(to: Float.self)) }
  }

  func binary(_ op: Binary, _ a: Operand, _ b: Operand, _ result: Operand) -> any Runnable {
    var parameters = tc_binary()
    parameters.a = UnsafeRawPointer(a.pointer)
    parameters.b = UnsafeRawPointer(b.pointer)
    parameters.destination = result.pointer
    parameters.element = Self.code(a.type.element)
    parameters.operator_ = Self.code(op)
    parameters.b_step = b.columns == a.columns ? 1 : 0
    let oneElement = b.type.count == 1
    let sameShape = b.type.count == a.type.count
    if a.isDense && result.isDense && (oneElement || (sameShape && b.isDense)) {
      parameters.rows = 1
      parameters.columns = a.type.count
      parameters.b_step = oneElement ? 0 : 1
    } else {
      parameters.rows = a.rows
      parameters.columns = a.columns
      Self.broadcast(b, over: a.type.shape, &parameters)
    }
    parameters.a_stride = parameters.rows == 1 ? parameters.columns : a.rowStride
    parameters.destination_stride = parameters.rows == 1 ? parameters.columns : result.rowStride
    return KernelWork(
      tc_kernel(tc_kernel_binary), parameters, count: parameters.rows * tc_chunks(parameters.columns),
      grain: Self.grain(parameters.columns))
  }

  /// Strides of `b`'s rows over the leading dimensions of `shape`, 0 where `b` is repeated.
  private static func broadcast(_ b: Operand, over shape: [Int], _ parameters: inout tc_binary) {
    let leading = shape.count - 1
    parameters.outer_count = Int32(max(0, leading))
    guard leading > 0 else { return }
    let own = b.type.shape.count - 1
    var stride = b.rowStride
    for back in 1...leading {
      let position = leading - back
      let size = own - back >= 0 ? b.type.shape[own - back] : 1
      set(&parameters.outer, position, shape[position])
      set(&parameters.b_strides, position, size == 1 ? 0 : stride)
      stride *= size
    }
  }

  /// Rows and columns of operands of one shape: a single row where all are dense.
  private static func merged(_ operands: [Operand]) -> (rows: Int, columns: Int) {
    let count = operands[0].type.count
    return operands.allSatisfy(\.isDense) ? (1, count) : (operands[0].rows, operands[0].columns)
  }

  /// Items of a chunk each that are worth a thread.
  private static func grain(_ columns: Int) -> Int { max(1, 8192 / min(max(columns, 1), 1024)) }

  /// Writes entry `index` of a C array.
  static func set<Tuple>(_ tuple: inout Tuple, _ index: Int, _ value: Int) {
    withUnsafeMutableBytes(of: &tuple) { $0.storeBytes(of: value, toByteOffset: index * 8, as: Int.self) }
  }

  static func code(_ element: ElementType) -> tc_element {
    switch element {
    case .f32: return tc_f32
    case .bf16: return tc_bf16
    case .f16: return tc_f16
    case .i32: return tc_i32
    case .u8: return tc_u8
    case .i8: return tc_i8
    }
  }

  static func code(_ op: Binary) -> tc_operator {
    switch op {
    case .add: return tc_add
    case .subtract: return tc_subtract
    case .multiply: return tc_multiply
    case .divide: return tc_divide
    }
  }

  static func function(_ activation: Activation) -> tc_function {
    switch activation {
    case .silu: return tc_silu
    case .gelu: return tc_gelu
    case .quickGelu: return tc_quick_gelu
    case .relu: return tc_relu
    case .tanh: return tc_tanh
    case .exp: return tc_exp
    }
  }
}
