import CKernels
import Engine

extension Lowering {
  /// A box of elements copied between strides.
  private func copy(
    _ shape: [Int], from source: UnsafeMutableRawPointer, _ sourceStrides: [Int],
    to destination: UnsafeMutableRawPointer, _ destinationStrides: [Int], _ element: ElementType
  ) -> any Runnable {
    var parameters = tc_copy()
    parameters.source = UnsafeRawPointer(source)
    parameters.destination = destination
    parameters.element_size = element.byteCount
    // Dimensions of one entry say nothing, and innermost dimensions that lie together are one.
    var dimensions = zip(shape, zip(sourceStrides, destinationStrides)).map {
      (size: $0, from: $1.0, to: $1.1)
    }.filter { $0.size != 1 }
    if dimensions.isEmpty { dimensions = [(1, 1, 1)] }
    var merged = [dimensions.removeLast()]
    for dimension in dimensions.reversed() {
      let inner = merged[0]
      if dimension.from == inner.from * inner.size && dimension.to == inner.to * inner.size {
        merged[0].size *= dimension.size
      } else {
        merged.insert(dimension, at: 0)
      }
    }
    if merged.count == 1 { merged.insert((1, 0, 0), at: 0) }
    parameters.dimensions = Int32(merged.count)
    for (index, dimension) in merged.enumerated() {
      Self.set(&parameters.shape, index, dimension.size)
      Self.set(&parameters.source_strides, index, dimension.from)
      Self.set(&parameters.destination_strides, index, dimension.to)
    }
    let items = merged.dropLast().reduce(1) { $0 * $1.size }
    let grain = max(1, 16384 / merged[merged.count - 1].size)
    return KernelWork(tc_copy_body, parameters, count: items, grain: grain)
  }

  /// Strides of a value's dimensions, in elements.
  private static func strides(_ shape: [Int], rowStride: Int) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    var stride = rowStride
    for axis in shape.indices.dropLast().reversed() {
      strides[axis] = stride
      stride *= shape[axis]
    }
    return strides
  }

  /// Rows one behind the other: results are dense (`rules` has no `writesStrided`).
  func copyRows(_ x: Operand, _ result: Operand) -> any Runnable {
    copy(
      [x.rows, x.columns], from: x.pointer, [x.rowStride, 1], to: result.pointer, [x.columns, 1],
      x.type.element)
  }

  func transpose(_ x: Operand, _ order: [Int], _ result: Operand) -> any Runnable {
    let strides = Self.strides(x.type.shape, rowStride: x.rowStride)
    return copy(
      result.type.shape, from: x.pointer, order.map { strides[$0] }, to: result.pointer,
      Self.strides(result.type.shape, rowStride: result.rowStride), x.type.element)
  }

  func slice(_ x: Operand, _ axis: Int, _ start: Int, _ result: Operand) -> any Runnable {
    let strides = Self.strides(x.type.shape, rowStride: x.rowStride)
    return copy(
      result.type.shape, from: x.pointer + start * strides[axis] * x.type.element.byteCount, strides,
      to: result.pointer, Self.strides(result.type.shape, rowStride: result.rowStride), x.type.element)
  }

  func concat(_ parts: [Operand], _ axis: Int, _ result: Operand) throws -> any Runnable {
    let strides = Self.strides(result.type.shape, rowStride: result.rowStride)
    var works: [any Runnable] = []
    var position = 0
    for part in parts {
      let to = result.pointer + position * strides[axis] * part.type.element.byteCount
      position += part.type.shape[axis]
      works.append(
        copy(
          part.type.shape, from: part.pointer, Self.strides(part.type.shape, rowStride: part.rowStride),
          to: to, strides, part.type.element))
    }
    return SequenceWork(works)
  }

  func upsample(_ x: Operand, _ result: Operand) -> any Runnable {
    let (from, to) = (x.type.shape, result.type.shape)
    let parameters = tc_upsample(
      source: x.pointer, destination: result.pointer, height: from[0], width: from[1], new_height: to[0],
      new_width: to[1], pixel_size: from[2] * x.type.element.byteCount)
    return KernelWork(tc_upsample_body, parameters, count: to[0], grain: 1)
  }

  func joinPhases(_ x: Operand, _ result: Operand) -> any Runnable {
    let shape = result.type.shape
    let parameters = tc_join_phases(
      source: x.pointer, destination: result.pointer, height: shape[0] / 2, width: shape[1] / 2,
      pixel_size: shape[2] * x.type.element.byteCount)
    return KernelWork(tc_join_phases_body, parameters, count: shape[0], grain: 4)
  }

  func gather(_ table: Operand, _ index: Operand, _ result: Operand) -> any Runnable {
    let parameters = tc_gather(
      table: table.pointer, index: index.pointer.assumingMemoryBound(to: Int32.self),
      destination: result.pointer, table_rows: table.rows,
      row_size: table.columns * table.type.element.byteCount)
    return KernelWork(tc_gather_body, parameters, count: result.rows, grain: 64)
  }

  func sinusoid(_ t: Operand, _ dimension: Int, _ flip: Bool, _ shift: Float, _ result: Operand)
    -> any Runnable
  {
    let parameters = tc_sinusoid(
      t: t.pointer.assumingMemoryBound(to: Float.self),
      destination: result.pointer.assumingMemoryBound(to: Float.self), dimension: dimension,
      flip_sin_to_cos: flip ? 1 : 0, frequency_shift: shift)
    return KernelWork(tc_sinusoid_body, parameters, count: result.rows, grain: 16)
  }
}
