import CCUDA
import Engine

extension Lowering {
  private static let module = KernelModule("elementwise.cu")

  func map(_ x: Operand, _ result: Operand, _ function: Int32, _ a: Float = 0, _ b: Float = 0) throws
    -> any Runnable
  {
    let isDense = x.isDense && result.isDense
    let count = x.type.count
    let parameters = tc_cuda_map(
      x: x.address, result: result.address, rows: Int64(isDense ? 1 : x.rows),
      columns: Int64(isDense ? count : x.columns), x_stride: Int64(isDense ? count : x.rowStride),
      result_stride: Int64(isDense ? count : result.rowStride), x_element: x.type.element.code,
      result_element: result.type.element.code, function: function, a: a, b: b)
    return try launch(
      "map", Self.module, parameters, grid: elementGrid(count, each: 8), threads: Self.elementThreads)
  }

  func geglu(_ x: Operand, _ result: Operand) throws -> any Runnable {
    let parameters = tc_cuda_geglu(
      x: x.address, result: result.address, rows: Int64(result.rows), columns: Int64(result.columns),
      x_stride: Int64(x.rowStride), result_stride: Int64(result.rowStride), element: result.type.element.code)
    return try launch(
      "geglu", Self.module, parameters, grid: elementGrid(result.type.count, each: 8),
      threads: Self.elementThreads)
  }

  func binary(_ op: Binary, _ x: Operand, _ y: Operand, _ result: Operand) throws -> any Runnable {
    var parameters = tc_cuda_binary()
    (parameters.x, parameters.y, parameters.result) = (x.address, y.address, result.address)
    (parameters.element, parameters.operation) = (result.type.element.code, op.code)
    var dimensions = Self.broadcast(x, y, result)
    if x.isDense, result.isDense, y.isDense { dimensions = Self.merged(dimensions) }
    guard dimensions.count <= 4 else {
      throw EngineError.unsupported("\(x.type) \(op) \(y.type)", backend: "the CUDA backend")
    }
    dimensions = Array(repeating: Dimension(size: 1), count: 4 - dimensions.count) + dimensions
    for (axis, dimension) in dimensions.enumerated() {
      setEntry(&parameters.shape, axis, dimension.size)
      setEntry(&parameters.x_strides, axis, dimension.x)
      setEntry(&parameters.y_strides, axis, dimension.y)
      setEntry(&parameters.result_strides, axis, dimension.result)
    }
    return try launch(
      "binary", Self.module, parameters, grid: elementGrid(result.type.count, each: 8),
      threads: Self.elementThreads)
  }

  /// A dimension and how far each operand moves along it.
  private struct Dimension {
    var size: Int
    var x = 0
    var y = 0
    var result = 0
  }

  /// Dimensions of the result, outermost first; where the second operand repeats it does not move.
  private static func broadcast(_ x: Operand, _ y: Operand, _ result: Operand) -> [Dimension] {
    let shape = result.type.shape
    let (own, other, to) = (strides(x), strides(y), strides(result))
    let missing = shape.count - y.type.shape.count
    return shape.indices.map { axis in
      let repeats = axis < missing || y.type.shape[axis - missing] == 1
      return Dimension(
        size: shape[axis], x: own[axis], y: repeats ? 0 : other[axis - missing], result: to[axis])
    }
  }

  /// Neighbouring dimensions that all operands walk through as one become one.
  private static func merged(_ dimensions: [Dimension]) -> [Dimension] {
    var result: [Dimension] = []
    for dimension in dimensions.reversed() where dimension.size != 1 {
      if let inner = result.first, dimension.x == inner.x * inner.size, dimension.y == inner.y * inner.size,
        dimension.result == inner.result * inner.size
      {
        result[0].size *= dimension.size
      } else {
        result.insert(dimension, at: 0)
      }
    }
    return result
  }

  /// Elements from one entry to the next along each dimension.
  static func strides(_ operand: Operand) -> [Int] {
    let shape = operand.type.shape
    var strides = [Int](repeating: 1, count: shape.count)
    var stride = operand.rowStride
    for axis in shape.indices.dropLast().reversed() {
      strides[axis] = stride
      stride *= shape[axis]
    }
    return strides
  }
}

/// Writes entry `index` of a C array of long long.
func setEntry<Tuple>(_ tuple: inout Tuple, _ index: Int, _ value: Int) {
  withUnsafeMutableBytes(of: &tuple) {
    $0.storeBytes(of: Int64(value), toByteOffset: index * 8, as: Int64.self)
  }
}
