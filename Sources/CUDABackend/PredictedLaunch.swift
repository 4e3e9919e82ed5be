import CCUDA
import Engine

/// One launch of a kernel and the time that it should take: the longer of its arithmetic and its traffic, and
/// what every launch costs.
struct PredictedLaunch {
  /// The kernel's name.
  var kernel: String
  /// Floating-point operations of products; 0 for what memory alone bounds.
  var operations: Double = 0
  /// Bytes that have to be read and written.
  var byteCount: Int
  var seconds: Double

  /// Of its best rate, what a kernel that only moves or maps elements gets of the memory's.
  private static let streaming = 0.85

  /// The launches that make a node. Types of inputs are those of views: what is read of them.
  static func all(of node: Node, inputs: [TensorType], _ card: Card) -> [PredictedLaunch] {
    let traffic = inputs.reduce(node.type.byteCount) { $0 + $1.byteCount }
    func one(_ kernel: String, _ bytes: Int = traffic) -> PredictedLaunch { moving(kernel, bytes, card) }
    switch node.op {
    case .input, .weight, .constant: return []
    case .convolution, .linear: return products(node, inputs, traffic, card)
    case .attention(let heads, _, _): return [attention(node, inputs, heads, traffic, card)]
    case .groupNorm:
      return [one("group_norm_sums", inputs[0].byteCount), one("group_norm_apply")]
    case .layerNorm: return [one("layer_norm")]
    case .moments: return [one("row_moments")]
    case .activation, .affine, .quantizePixels, .clamp, .cast, .quantize, .peaks: return [one("map")]
    case .geglu: return [one("geglu")]
    case .binary: return [one("binary")]
    case .reshape, .transpose, .slice: return [one("copy")]
    case .concat: return inputs.map { one("copy", 2 * $0.byteCount) }
    case .upsampleNearest: return [one("upsample")]
    case .joinPhases: return [one("join_phases")]
    case .gather: return [one("gather", 2 * node.type.byteCount)]
    case .sinusoid: return [one("sinusoid")]
    }
  }

  private static func moving(_ kernel: String, _ bytes: Int, _ card: Card) -> PredictedLaunch {
    PredictedLaunch(
      kernel: kernel, byteCount: bytes,
      seconds: Double(bytes) / (card.bandwidth * streaming) + card.launch)
  }

  // MARK: Products

  /// Rows and columns of a result and the depth of its sums.
  private struct Size {
    var rows, columns, depth: Int
    var operations: Double { 2 * Double(rows) * Double(columns) * Double(depth) }
  }

  /// Rows of the product, which are not the result's where phases are joined.
  private static func positions(_ node: Node) -> Int {
    guard case .convolution(let convolution) = node.op else { return node.type.rows }
    return convolution.parts(of: node.type.shape).dropLast().reduce(1, *)
  }

  private static func products(_ node: Node, _ inputs: [TensorType], _ traffic: Int, _ card: Card)
    -> [PredictedLaunch]
  {
    // A gated product has half of its filters for columns.
    let size = Size(
      rows: positions(node), columns: inputs[1].shape[0],
      depth: inputs[1].shape.dropFirst().reduce(1, *))
    let element = inputs[0].element
    let operations = size.operations
    let memory = Double(traffic) / (card.bandwidth * streaming)
    guard runsOnTensorCores(inputs, card) else {
      // Reads from shared memory bound it: a third of the peak.
      let arithmetic = operations / (card.plainOperations / 3)
      return [
        PredictedLaunch(
          kernel: "product_plain", operations: operations, byteCount: traffic,
          seconds: max(arithmetic, memory) + card.launch)
      ]
    }
    let takesWarpgroups = card.takesWarpgroups && isOfEveryPixel(node)
    let tiling = Tiling(
      rows: size.rows, columns: size.columns, depth: size.depth, card, takesWarpgroups: takesWarpgroups)
    let product = PredictedLaunch(
      kernel: tiling.kernel, operations: operations, byteCount: traffic,
      seconds: max(operations / (card.operations(element) * tiling.efficiency), memory) + card.launch)
    guard tiling.splits > 1 else { return [product] }
    // The sums stay in the cache.
    return [product, PredictedLaunch(kernel: "product_finish", byteCount: 0, seconds: tiling.finish)]
  }

  /// As `Lowering` decides of warpgroups.
  private static func isOfEveryPixel(_ node: Node) -> Bool {
    guard case .convolution(let convolution) = node.op else { return true }
    return convolution.stride == 1
  }

  /// As `Lowering` decides: 8 elements are read at a time.
  private static func runsOnTensorCores(_ inputs: [TensorType], _ card: Card) -> Bool {
    let element = inputs[0].element
    guard element == .f16 || (element == .bf16 && card.capability >= 80) else { return false }
    return inputs[0].columns % 8 == 0 && inputs[1].columns % 8 == 0
  }

  // MARK: Attention

  private static func attention(
    _ node: Node, _ inputs: [TensorType], _ heads: Int, _ traffic: Int, _ card: Card
  ) -> PredictedLaunch {
    let operations = Work.operations(of: node, inputs: inputs)
    let (rows, dimension) = (node.type.rows, node.type.columns / heads)
    let isTiled = inputs[0].element != .f32 && dimension % 8 == 0
    // Softmax takes its part of the time; queries are taken 64 at a time.
    let rate =
      isTiled
      ? card.operations(inputs[0].element) * 0.45
        * Tiling.fill(blocks: (rows + 63) / 64 * heads, multiprocessors: card.multiprocessors)
      : card.plainOperations / 8
    return PredictedLaunch(
      kernel: isTiled ? "attention" : "attention_plain", operations: operations, byteCount: traffic,
      seconds: max(operations / rate, Double(traffic) / card.bandwidth) + card.launch)
  }
}

/// What a product's tiles come to on a card.
struct Tiling {
  var kernel: String
  var splits: Int
  /// Of the peak, what is reached: a tile's own, and blocks that leave multiprocessors idle.
  var efficiency: Double
  /// Seconds that the sums of splits take.
  var finish: Double

  /// The tiles that the lowering chooses.
  init(rows: Int, columns: Int, depth: Int, _ card: Card, takesWarpgroups: Bool = false) {
    let tiles = Tile.all + (takesWarpgroups ? Tile.warpgroups : [])
    let choice = TileChoice.ranked(
      tiles, rows: rows, columns: columns, depth: depth, on: GPUDevice(card))[0]
    let tile = choice.tile
    kernel = tile.isForWarpgroups ? "product_warpgroup" : "product"
    let (down, across) = (ceiling(rows, tile.rows), ceiling(columns, tile.columns))
    // What of the tiles is result, and what of the waves is full.
    let used = Double(rows * columns) / Double(down * tile.rows * across * tile.columns)
    let fill = Self.fill(blocks: down * across * choice.splits, multiprocessors: card.multiprocessors)
    splits = choice.splits
    efficiency = Self.peakShare(tile, card) * used * fill
    // Sums in f32, written and read again: in the L2 cache, at twice the rate of memory.
    let traffic = Double(2 * 4 * splits * rows * columns)
    finish = splits == 1 ? 0 : traffic / (2 * card.bandwidth) + card.launch
  }

  /// The part of the peak that a full GPU reaches: larger tiles read less of shared memory. Guesses, until
  /// measured.
  ///
  /// Hopper's peak is for warpgroups; the products of a warp alone are held to reach three fifths of it, and
  /// its rate here is four fifths of it.
  private static func peakShare(_ tile: Tile, _ card: Card) -> Double {
    let ofWarps = card.capability == 90 ? 0.78 : 1
    switch tile.rows * tile.columns {
    case (128 * 128)...: return tile.isForWarpgroups ? 0.9 : 0.82 * ofWarps
    case (128 * 64)...: return tile.isForWarpgroups ? 0.75 : 0.68 * ofWarps
    case (64 * 64)...: return tile.isForWarpgroups ? 0.55 : 0.5 * ofWarps
    default: return 0.33 * ofWarps
    }
  }

  /// The part of the multiprocessors that have work, over all waves of blocks.
  static func fill(blocks: Int, multiprocessors: Int) -> Double {
    Double(blocks) / Double(ceiling(blocks, multiprocessors) * multiprocessors)
  }
}
