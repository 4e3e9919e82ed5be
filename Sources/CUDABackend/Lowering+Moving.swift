import CCUDA
import Engine

extension Lowering {
  private static let module = KernelModule("moving.cu")

  /// A box copied between strides; all in bytes but `size`, a number of entries.
  private struct Box {
    struct Dimension {
      var size: Int
      var from = 0
      var to = 0
    }
    /// Outermost first.
    var dimensions: [Dimension] = []
    var elementSize: Int

    /// Dimensions of one entry say nothing, and neighbours that lie together on both sides are one.
    init(_ shape: [Int], _ from: [Int], _ to: [Int], _ element: ElementType) {
      elementSize = element.byteCount
      for axis in shape.indices.reversed() where shape[axis] != 1 {
        let next = Dimension(size: shape[axis], from: from[axis] * elementSize, to: to[axis] * elementSize)
        if let inner = dimensions.first, next.from == inner.from * inner.size,
          next.to == inner.to * inner.size
        {
          dimensions[0].size *= next.size
        } else {
          dimensions.insert(next, at: 0)
        }
      }
    }

    /// Takes several neighbours for one element, as many as addresses and strides allow, at most 16 bytes.
    mutating func widen(_ addresses: [tc_CUdeviceptr]) {
      guard let inner = dimensions.last, inner.from == elementSize, inner.to == elementSize else { return }
      let length = inner.size * elementSize
      for width in [16, 8, 4, 2] where width > elementSize {
        let fits =
          length % width == 0 && addresses.allSatisfy { $0 % UInt64(width) == 0 }
          && dimensions.dropLast().allSatisfy { $0.from % width == 0 && $0.to % width == 0 }
        guard fits else { continue }
        dimensions[dimensions.count - 1] = Dimension(size: length / width, from: width, to: width)
        elementSize = width
        return
      }
    }
  }

  /// Elements copied between strides, given in elements.
  private func copy(
    _ shape: [Int], from source: tc_CUdeviceptr, _ sourceStrides: [Int], to destination: tc_CUdeviceptr,
    _ destinationStrides: [Int], _ element: ElementType
  ) throws -> Launch<tc_cuda_copy> {
    var box = Box(shape, sourceStrides, destinationStrides, element)
    box.widen([source, destination])
    var parameters = tc_cuda_copy()
    guard box.dimensions.count <= 5 else {
      throw EngineError.unsupported(
        "a copy in \(box.dimensions.count) dimensions", backend: "the CUDA backend")
    }
    let all = Array(repeating: Box.Dimension(size: 1), count: 5 - box.dimensions.count) + box.dimensions
    (parameters.x, parameters.result) = (source, destination)
    parameters.element_size = Int32(box.elementSize)
    for (axis, dimension) in all.enumerated() {
      setEntry(&parameters.shape, axis, dimension.size)
      setEntry(&parameters.x_strides, axis, dimension.from / box.elementSize)
      setEntry(&parameters.result_strides, axis, dimension.to / box.elementSize)
    }
    let count = all.reduce(1) { $0 * $1.size }
    return try launch("copy", Self.module, parameters, grid: elementGrid(count), threads: Self.elementThreads)
  }

  func copyRows(_ x: Operand, _ result: Operand) throws -> any Runnable {
    // The same elements in the same order: walk them in the shape of the side that is not dense.
    let shape = result.isDense ? x : result
    let own = [shape.rows, shape.columns]
    let dense = [shape.columns, 1]
    return try copy(
      own, from: x.address, x.isDense ? dense : [x.rowStride, 1], to: result.address,
      result.isDense ? dense : [result.rowStride, 1], x.type.element)
  }

  func transpose(_ x: Operand, _ order: [Int], _ result: Operand) throws -> Launch<tc_cuda_copy> {
    let strides = Self.strides(x)
    return try copy(
      result.type.shape, from: x.address, order.map { strides[$0] }, to: result.address, Self.strides(result),
      x.type.element)
  }

  func slice(_ x: Operand, _ axis: Int, _ start: Int, _ result: Operand) throws -> any Runnable {
    let strides = Self.strides(x)
    return try copy(
      result.type.shape, from: x.address + UInt64(start * strides[axis] * x.type.element.byteCount), strides,
      to: result.address, Self.strides(result), x.type.element)
  }

  func concat(_ parts: [Operand], _ axis: Int, _ result: Operand) throws -> any Runnable {
    let strides = Self.strides(result)
    var works: [any Runnable] = []
    var position = 0
    for part in parts {
      let to = result.address + UInt64(position * strides[axis] * part.type.element.byteCount)
      position += part.type.shape[axis]
      works.append(
        try copy(part.type.shape, from: part.address, Self.strides(part), to: to, strides, part.type.element))
    }
    return SequenceWork(works)
  }

  func upsample(_ x: Operand, _ result: Operand) throws -> any Runnable {
    let (from, to) = (x.type.shape, result.type.shape)
    let parameters = tc_cuda_upsample(
      x: x.address, result: result.address, height: Int32(from[0]), width: Int32(from[1]),
      new_height: Int32(to[0]),
      new_width: Int32(to[1]), pixel_size: Int32(from[2] * x.type.element.byteCount))
    return try launch(
      "upsample", Self.module, parameters, grid: elementGrid(result.type.count), threads: Self.elementThreads)
  }

  func joinPhases(_ x: Operand, _ result: Operand) throws -> any Runnable {
    let shape = result.type.shape
    let parameters = tc_cuda_join_phases(
      x: x.address, result: result.address, height: Int32(shape[0] / 2), width: Int32(shape[1] / 2),
      pixel_size: Int32(shape[2] * x.type.element.byteCount))
    return try launch(
      "join_phases", Self.module, parameters, grid: elementGrid(result.type.count),
      threads: Self.elementThreads)
  }

  func gather(_ table: Operand, _ index: Operand, _ result: Operand) throws -> any Runnable {
    let parameters = tc_cuda_gather(
      table: table.address, index: index.address, result: result.address, count: Int32(result.rows),
      table_rows: Int32(table.rows), row_size: Int32(table.columns * table.type.element.byteCount))
    return try launch(
      "gather", Self.module, parameters, grid: elementGrid(result.type.count), threads: Self.elementThreads)
  }

  func sinusoid(_ t: Operand, _ dimension: Int, _ flip: Bool, _ shift: Float, _ result: Operand) throws
    -> any Runnable
  {
    let parameters = tc_cuda_sinusoid(
      t: t.address, result: result.address, count: Int32(result.rows), dimension: Int32(dimension),
      flip_sin_to_cos: flip ? 1 : 0, frequency_shift: shift)
    return try launch(
      "sinusoid", Self.module, parameters, grid: elementGrid(result.type.count), threads: Self.elementThreads)
  }
}
