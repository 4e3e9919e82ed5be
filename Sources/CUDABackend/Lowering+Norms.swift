import CCUDA
import Engine

extension Lowering {
  private static func module(_ element: ElementType) -> KernelModule {
    KernelModule("norms.cu", element)
  }

  func groupNorm(
    _ node: Node, _ groups: Int, _ epsilon: Float, _ activation: Activation?, _ result: Operand
  ) throws -> any Runnable {
    let (x, gain, shift) = (
      try operand(node.inputs[0]), try operand(node.inputs[1]), try operand(node.inputs[2])
    )
    // As many blocks as keep each thread busy.
    let blocks = max(1, min(x.rows * x.columns / groups / 4096, 32))
    let parameters = tc_cuda_group_norm(
      x: x.address, gain: gain.address, shift: shift.address, result: result.address, partial: 0,
      rows: Int32(x.rows), channels: Int32(x.columns), groups: Int32(groups), x_stride: Int32(x.rowStride),
      result_stride: Int32(result.rowStride), gain_element: gain.type.element.code,
      shift_element: shift.type.element.code, blocks: Int32(blocks),
      epsilon: epsilon, activation: activation?.code ?? TC_IDENTITY)
    let module = Self.module(x.type.element)
    let sums = try launch(
      "group_norm_sums", module, parameters, grid: Extent(x: blocks, y: groups), threads: 256,
      sharedMemory: 96)
    // A thread takes vectors of 8, a few of them.
    let vectors = x.rows * ((x.columns + 7) / 8)
    let apply = try launch(
      "group_norm_apply", module, parameters, grid: Extent(x: max(1, vectors / 1024)), threads: 256,
      sharedMemory: 8 * groups)
    scratch.request(groups * blocks * 3 * 4) { address in
      sums.parameters.pointee.partial = address
      apply.parameters.pointee.partial = address
    }
    return SequenceWork([sums, apply])
  }

  func moments(_ x: Operand, _ epsilon: Float, _ result: Operand) throws -> any Runnable {
    let parameters = tc_cuda_row_moments(
      x: x.address, result: result.address, rows: Int32(x.rows), columns: Int32(x.columns),
      x_stride: Int32(x.rowStride), epsilon: epsilon)
    return try launch(
      "row_moments", Self.module(x.type.element), parameters, grid: Extent(x: ceiling(x.rows, 4)),
      threads: 128)
  }

  func layerNorm(_ node: Node, _ epsilon: Float, _ result: Operand) throws -> any Runnable {
    let (x, gain, shift) = (
      try operand(node.inputs[0]), try operand(node.inputs[1]), try operand(node.inputs[2])
    )
    let parameters = tc_cuda_layer_norm(
      x: x.address, gain: gain.address, shift: shift.address, result: result.address, rows: Int32(x.rows),
      columns: Int32(x.columns), x_stride: Int32(x.rowStride), result_stride: Int32(result.rowStride),
      gain_element: gain.type.element.code,
      shift_element: shift.type.element.code, epsilon: epsilon)
    return try launch(
      "layer_norm", Self.module(x.type.element), parameters, grid: Extent(x: x.rows), threads: 128,
      sharedMemory: 48)
  }
}
