import CKernels
import Engine

extension Lowering {
  func groupNorm(
    _ node: Node, _ groups: Int, _ epsilon: Float, _ activation: Activation?, _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let gain = try packer.pack(node.inputs[1], .vector)
    let shift = try packer.pack(node.inputs[2], .vector)
    let factors = try factors(node, after: 3)
    let blocks = GroupNormWork.blocks(rows: input.rows, channels: input.columns, threads: threads)
    let parameters = tc_group_norm(
      source: input.pointer, destination: result.pointer,
      gain: gain.pointer.assumingMemoryBound(to: Float.self),
      shift: shift.pointer.assumingMemoryBound(to: Float.self), partial: nil, channel: nil, rows: input.rows,
      channels: input.columns, groups: groups, source_stride: input.rowStride,
      destination_stride: result.rowStride, blocks: blocks, epsilon: epsilon,
      activation: activation.map(Self.function) ?? tc_identity, element: Self.code(input.type.element),
      quantum: Self.floats(factors))
    let work = GroupNormWork(parameters, keep: [gain, shift] + (factors.map { [$0] } ?? []))
    let floats = tc_group_scratch(blocks, input.columns)
    scratch.request(floats * 4) { [unowned work] memory in
      let partial = memory.assumingMemoryBound(to: Float.self)
      work.parameters.pointer.pointee.partial = partial
      work.parameters.pointer.pointee.channel = partial + blocks * 2 * input.columns
    }
    return work
  }

  func layerNorm(_ node: Node, _ epsilon: Float, _ result: Operand) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let gain = try packer.pack(node.inputs[1], .vector)
    let shift = try packer.pack(node.inputs[2], .vector)
    let factors = try factors(node, after: 3)
    let parameters = tc_layer_norm(
      source: input.pointer, destination: result.pointer,
      gain: gain.pointer.assumingMemoryBound(to: Float.self),
      shift: shift.pointer.assumingMemoryBound(to: Float.self), rows: input.rows, columns: input.columns,
      source_stride: input.rowStride, destination_stride: result.rowStride, epsilon: epsilon,
      element: Self.code(input.type.element), quantum: Self.floats(factors))
    return KernelWork(
      tc_kernel(tc_kernel_layer_norm), parameters, count: input.rows, grain: max(1, 8192 / input.columns),
      keep: [gain, shift] + (factors.map { [$0] } ?? []))
  }

  func attention(_ node: Node, _ heads: Int, _ scale: Float, _ causal: Bool, _ result: Operand) throws
    -> any Runnable
  {
    let (q, k, v) = (try operand(node.inputs[0]), try operand(node.inputs[1]), try operand(node.inputs[2]))
    let dimension = q.columns / heads
    var parameters = tc_attention(
      q: q.pointer, k: k.pointer, v: v.pointer, destination: result.pointer, queries: q.rows, keys: k.rows,
      heads: heads, dimension: dimension, key_block: tc_attention_key_block(k.rows), q_stride: q.rowStride,
      k_stride: k.rowStride,
      v_stride: v.rowStride, destination_stride: result.rowStride, scale: scale, causal: causal ? 1 : 0,
      element: Self.code(q.type.element), scratch: nil, scratch_size: 0, packed: nil)
    let size = tc_attention_scratch(&parameters)
    parameters.scratch_size = size
    let work = AttentionWork(parameters)
    let packed = (tc_attention_packed_size(&parameters) + 63) / 64 * 64
    scratch.request(packed + size * threads) { [unowned work] memory in
      work.parameters.pointer.pointee.packed = memory
      work.parameters.pointer.pointee.scratch = memory + packed
    }
    return work
  }
}
