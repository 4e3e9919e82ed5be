/// How the tensor-core product is cut: the part of the result that a block makes, and in how many shares of
/// k.
struct Tile: Hashable, Sendable {
  var rows, columns: Int
  /// k tiles under way in the pipeline.
  var stages: Int
  /// Whether Hopper's warpgroups multiply it (product_warpgroup.cu), of 64 rows each; else four warps do.
  var isForWarpgroups = false

  /// Of k at a time.
  static let depth = 64
  private static let warpsAcross = 2

  /// Of a block; one warp more brings what warpgroups multiply.
  var threads: Int { isForWarpgroups ? 2 * rows + 32 : 128 }

  /// Both operands for each stage, or the sums on their way out, in bytes; and barriers.
  var sharedMemory: Int {
    let operands = stages * (rows + columns) * Self.depth * 2
    return isForWarpgroups ? operands + 1024 : max(operands, 4 * rows * (columns + 8 * Self.warpsAcross))
  }

  /// Larger ones read less and keep the tensor cores busier; of equal ones the first that fits in shared
  /// memory is taken.
  static let all = [
    Tile(rows: 128, columns: 128, stages: 3), Tile(rows: 128, columns: 64, stages: 3),
    Tile(rows: 128, columns: 64, stages: 2), Tile(rows: 64, columns: 64, stages: 4),
    Tile(rows: 64, columns: 64, stages: 2), Tile(rows: 128, columns: 32, stages: 3),
    Tile(rows: 32, columns: 64, stages: 4), Tile(rows: 64, columns: 32, stages: 4),
  ]

  /// Those for warpgroups. Widths of 80 and 160 share 1280 columns, or 10240, out to 64 or 128 blocks: as
  /// many as an H200 has multiprocessors for.
  static let warpgroups = [
    (128, 256, 4), (128, 160, 6), (128, 128, 6), (64, 160, 7), (128, 80, 4), (64, 128, 4), (128, 64, 4),
    (64, 80, 6), (64, 64, 6),
  ].map { Tile(rows: $0.0, columns: $0.1, stages: $0.2, isForWarpgroups: true) }

  /// "128x64x3"; with a "w" for warpgroups.
  var text: String { "\(rows)x\(columns)x\(stages)\(isForWarpgroups ? "w" : "")" }

  /// Whether the kernel is made with sums of f16 too.
  var takesHalfSums: Bool {
    !isForWarpgroups && rows * columns <= 128 * 64 && columns >= 32 && (rows, columns) != (128, 32)
  }

  var defines: [String] { ["TILE_M=\(rows)", "TILE_N=\(columns)", "STAGES=\(stages)"] }

  /// What a multiprocessor reaches with it, as a share of the largest's. A guess until it is measured.
  fileprivate var efficiency: Double {
    if isForWarpgroups { return rows * columns >= 128 * 128 ? 1.6 : rows * columns > 64 * 80 ? 1.3 : 0.9 }
    switch rows * columns {
    case 128 * 128: return 1
    case 128 * 64: return 0.85
    case 64 * 64: return rows == columns ? 0.65 : 0.6
    default: return 0.4
    }
  }
}

/// A tile and the number of shares of k for a product's size.
struct TileChoice: Hashable {
  var tile: Tile
  var splits: Int

  static let splits = [1, 2, 4, 8]

  /// Operations a second of one multiprocessor at best: between an RTX 3060's and an H200's, for only ratios
  /// matter.
  private static let rate = 3e12
  /// Of a launch more.
  private static let launchSeconds = 2e-6

  /// All that the device can do, from the cheapest on by a model of waves: all multiprocessors take blocks
  /// until none is left, and shares of k have to be written and summed.
  static func ranked(
    _ tiles: [Tile] = Tile.all, rows: Int, columns: Int, depth: Int, on device: GPUDevice
  ) -> [TileChoice] {
    let candidates = tiles.filter { $0.sharedMemory <= device.sharedMemory }.flatMap { tile in
      Self.splits.filter { $0 == 1 || depth / $0 >= 4 * Tile.depth }.map {
        TileChoice(tile: tile, splits: $0)
      }
    }
    // Of equal ones the first stays first.
    return candidates.enumerated().map {
      ($0.offset, $0.element, $0.element.seconds(rows: rows, columns: columns, depth: depth, device))
    }.sorted { ($0.2, $0.0) < ($1.2, $1.0) }.map(\.1)
  }

  private func seconds(rows: Int, columns: Int, depth: Int, _ device: GPUDevice) -> Double {
    let blocks = ceiling(rows, tile.rows) * ceiling(columns, tile.columns) * splits
    let waves = ceiling(blocks, device.multiprocessors)
    let share = ceiling(ceiling(depth, Tile.depth), splits) * Tile.depth
    let work = 2 * Double(tile.rows * tile.columns) * Double(share) / tile.efficiency
    let compute = Double(waves) * work / Self.rate
    guard splits > 1 else { return compute }
    let bandwidth = device.bandwidth > 0 ? device.bandwidth : 5e11
    return compute + Double(rows * columns * 4 * 2 * splits) / bandwidth + Self.launchSeconds
  }
}

/// ⌈a / b⌉
func ceiling(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
