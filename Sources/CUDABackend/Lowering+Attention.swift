import CCUDA
import Engine

/// How many queries a block of the attention kernel takes, and each of its warps.
private struct QueryTile {
  var queries: Int
  var warpQueries = 16

  var defines: [String] {
    ["QUERIES=\(queries)"] + (warpQueries == 16 ? [] : ["WARP_QUERIES=\(warpQueries)"])
  }

  /// For the usual head dimension small tiles where large ones would leave multiprocessors without work, and
  /// large ones, which read keys half as often, where they all have plenty.
  static func best(queries: Int, heads: Int, dimension: Int, on device: GPUDevice) -> QueryTile {
    guard dimension == 64 else { return QueryTile(queries: 64) }
    func blocks(_ tile: Int) -> Int { ceiling(queries, tile) * heads }
    if blocks(128) >= 2 * device.multiprocessors { return QueryTile(queries: 128, warpQueries: 32) }
    return QueryTile(queries: blocks(64) >= device.multiprocessors ? 64 : 32)
  }
}

extension Lowering {
  func attention(_ node: Node, _ heads: Int, _ scale: Float, _ causal: Bool, _ result: Operand) throws
    -> any Runnable
  {
    let (q, k, v) = (try operand(node.inputs[0]), try operand(node.inputs[1]), try operand(node.inputs[2]))
    let dimension = q.columns / heads
    let parameters = tc_cuda_attention(
      q: q.address, k: k.address, v: v.address, result: result.address, queries: Int32(q.rows),
      keys: Int32(k.rows), heads: Int32(heads), head_dimension: Int32(dimension),
      q_stride: Int32(q.rowStride),
      k_stride: Int32(k.rowStride), v_stride: Int32(v.rowStride), result_stride: Int32(result.rowStride),
      scale: scale, causal: causal ? 1 : 0)
    let aligned = [q, k, v, result].allSatisfy { $0.address % 16 == 0 && $0.rowStride % 8 == 0 }
    let hasTensorCores =
      q.type.element == .f16 || (q.type.element == .bf16 && context.device.capability >= 80)
    guard hasTensorCores, aligned, dimension % 8 == 0 else {
      return try plainAttention(parameters, q.type.element)
    }
    if dimension <= Self.largestHead { return try flashAttention(parameters, q.type.element) }
    if causal || heads > 1 { return try plainAttention(parameters, q.type.element) }
    return try wideAttention(parameters, q.type.element)
  }

  /// What the kernel keeps in registers.
  private static let largestHead = 160

  private func flashAttention(_ parameters: tc_cuda_attention, _ element: ElementType) throws -> any Runnable
  {
    let (queries, heads, dimension) = (
      Int(parameters.queries), Int(parameters.heads), Int(parameters.head_dimension)
    )
    let tile = QueryTile.best(queries: queries, heads: heads, dimension: dimension, on: context.device)
    let keys = dimension > 80 ? 32 : 64
    let chunks = ceiling(dimension, 16) * 2
    let pitch = chunks % 8 == 0 ? chunks : chunks + 1
    let module = KernelModule("attention.cu", element, ["HEAD_DIMENSION=\(dimension)"] + tile.defines)
    return try launch(
      "attention", module, parameters, grid: Extent(x: ceiling(queries, tile.queries), y: heads),
      threads: 32 * tile.queries / tile.warpQueries, sharedMemory: 16 * pitch * (tile.queries + 4 * keys))
  }

  private func plainAttention(_ parameters: tc_cuda_attention, _ element: ElementType) throws -> any Runnable
  {
    let module = KernelModule("attention_plain.cu", element)
    return try launch(
      "attention_plain", module, parameters,
      grid: Extent(x: Int(parameters.queries), y: Int(parameters.heads)), threads: 128,
      sharedMemory: 4 * (2 * Int(parameters.head_dimension) + 136))
  }

  /// One head too wide for registers (an autoencoder's, of 512): scores as a product, softmax, and the
  /// product with the values, whose rows become columns first. Scores stay f32: they leave the range of f16.
  private func wideAttention(_ p: tc_cuda_attention, _ element: ElementType) throws -> any Runnable {
    let (queries, keys, width) = (Int(p.queries), Int(p.keys), Int(p.head_dimension))
    // Rows of what is a weight below begin at multiples of 16 bytes.
    let pitch = ceiling(keys, 8) * 8
    let values = Operand(
      address: p.v, type: TensorType([keys, width], element), rowStride: Int(p.v_stride))
    let turned = Operand(address: 0, type: TensorType([width, keys], element), rowStride: pitch)
    let turn = try transpose(values, [1, 0], turned)

    var scores = Self.matrixProduct(rows: queries, columns: keys, depth: width)
    (scores.x, scores.x_stride, scores.weight, scores.weight_stride) = (p.q, p.q_stride, p.k, p.k_stride)
    (scores.result_stride, scores.result_element, scores.scale) = (Int32(pitch), TC_F32, p.scale)
    let first = try scratchProduct(scores, element)

    let softmax = try launch(
      "softmax", KernelModule("norms.cu", element),
      tc_cuda_softmax(
        x: 0, result: 0, rows: p.queries, columns: p.keys, x_stride: Int32(pitch), result_stride: Int32(pitch)
      ),
      grid: Extent(x: queries), threads: 128, sharedMemory: 32)

    var mixed = Self.matrixProduct(rows: queries, columns: width, depth: keys)
    (mixed.x_stride, mixed.weight_stride) = (Int32(pitch), Int32(pitch))
    (mixed.result, mixed.result_stride, mixed.result_element) = (p.result, p.result_stride, element.code)
    let second = try scratchProduct(mixed, element)

    let (scoreBytes, weightBytes) = (queries * pitch * 4, queries * pitch * 2)
    scratch.request(scoreBytes + weightBytes + width * pitch * 2) { address in
      let (weights, columns) = (address + UInt64(scoreBytes), address + UInt64(scoreBytes + weightBytes))
      first.parameters.pointee.result = address
      softmax.parameters.pointee.x = address
      softmax.parameters.pointee.result = weights
      second.parameters.pointee.x = weights
      turn.parameters.pointee.result = columns
      second.parameters.pointee.weight = columns
    }
    return SequenceWork([turn, first, softmax, second])
  }

  /// `[rows, depth]` times `[columns, depth]`ᵀ.
  private static func matrixProduct(rows: Int, columns: Int, depth: Int) -> tc_cuda_product {
    var product = tc_cuda_product()
    (product.splits, product.scale, product.activation) = (1, 1, TC_IDENTITY)
    (product.height, product.width, product.out_height, product.out_width) = (Int32(rows), 1, Int32(rows), 1)
    (product.kernel_rows, product.kernel_columns, product.stride) = (1, 1, 1)
    (product.channels, product.filters) = (Int32(depth), Int32(columns))
    return product
  }
}
