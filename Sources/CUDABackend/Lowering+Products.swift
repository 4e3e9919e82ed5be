import CCUDA
import Engine

/// A shape of the tensor-core product's tile.
struct Tile: Hashable {
  var rows, columns, stages: Int
  /// Of k at a time.
  static let depth = 64
  static let threads = 128

  /// Both operands' tiles, in 16-bit elements, for each stage of the pipeline.
  var sharedMemory: Int { stages * (rows + columns) * Self.depth * 2 }
  var defines: [(String, Int)] { [("TILE_M", rows), ("TILE_N", columns), ("STAGES", stages)] }
}

extension Lowering {
  /// The launch of a product: on tensor cores where sizes and alignment allow it.
  func launch(_ product: tc_cuda_product, _ element: ElementType) throws -> any Runnable {
    if runsOnTensorCores(product, element) { return try tensorCoreLaunch(product, element) }
    return try plainLaunch(product, element)
  }

  /// The kernel reads 8 elements of a pixel at a time.
  private func runsOnTensorCores(_ product: tc_cuda_product, _ element: ElementType) -> Bool {
    guard element == .f16 || (element == .bf16 && context.device.capability >= 80) else { return false }
    let lengths = [
      product.channels, product.first_channels, product.x_stride, product.second_stride,
      product.weight_stride,
    ]
    return lengths.allSatisfy { $0 % 8 == 0 }
      && [product.x, product.second, product.weight].allSatisfy { $0 % 16 == 0 }
      && product.x_batch % 8 == 0 && product.weight_batch % 8 == 0
  }

  private func tensorCoreLaunch(_ product: tc_cuda_product, _ element: ElementType) throws -> any Runnable {
    let rows = Int(product.out_height * product.out_width)
    let columns = Int(product.filters)
    let tile = Tile(rows: 64, columns: 64, stages: 3)
    let module = KernelModule(
      "product.cu",
      [
        "ELEMENT": Int(element.code), "TILE_M": tile.rows, "TILE_N": tile.columns, "STAGES": tile.stages,
      ])
    let grid = Extent(
      x: (rows + tile.rows - 1) / tile.rows, y: (columns + tile.columns - 1) / tile.columns,
      z: Int(product.batches * product.splits))
    return try launch(
      "product", module, product, grid: grid, threads: Tile.threads, sharedMemory: tile.sharedMemory)
  }

  private func plainLaunch(_ product: tc_cuda_product, _ element: ElementType) throws -> any Runnable {
    let rows = Int(product.out_height * product.out_width)
    let columns = Int(product.filters)
    let module = KernelModule("product_plain.cu", ["ELEMENT": Int(element.code)])
    let grid = Extent(x: (rows + 63) / 64, y: (columns + 63) / 64, z: Int(product.batches))
    return try launch("product_plain", module, product, grid: grid, threads: 256)
  }
}
