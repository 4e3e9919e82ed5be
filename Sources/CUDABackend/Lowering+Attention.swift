import CCUDA
import Engine

extension Lowering {
  func attention(_ node: Node, _ heads: Int, _ scale: Float, _ causal: Bool, _ result: Operand) throws
    -> any Runnable
  {
    let (q, k, v) = (try operand(node.inputs[0]), try operand(node.inputs[1]), try operand(node.inputs[2]))
    let dimension = q.columns / heads
    let parameters = tc_cuda_attention(
      q: q.address, k: k.address, v: v.address, result: result.address, queries: Int32(q.rows),
      keys: Int32(k.rows), heads: Int32(heads), q_stride: Int32(q.rowStride), k_stride: Int32(k.rowStride),
      v_stride: Int32(v.rowStride), result_stride: Int32(result.rowStride), scale: scale,
      causal: causal ? 1 : 0)
    let module = KernelModule(
      "attention_plain.cu", ["ELEMENT": Int(q.type.element.code), "HEAD_DIMENSION": dimension])
    return try launch(
      "attention_plain", module, parameters, grid: Extent(x: q.rows, y: heads), threads: 128)
  }
}
