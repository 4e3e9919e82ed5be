import CCUDA
import Engine

extension Lowering {
  /// The launch of a product: on tensor cores where sizes and alignment allow it.
  func launch(_ product: tc_cuda_product, _ element: ElementType) throws -> any Runnable {
    if runsOnTensorCores(product, element) { return try tensorCoreLaunch(product, element) }
    return try plainLaunch(product, element)
  }

  /// The kernel reads 8 elements of a pixel at a time.
  func runsOnTensorCores(_ product: tc_cuda_product, _ element: ElementType) -> Bool {
    guard element == .f16 || (element == .bf16 && context.device.capability >= 80) else { return false }
    let lengths = [product.channels, product.x_stride, product.weight_stride]
    return lengths.allSatisfy { $0 % 8 == 0 } && max(product.kernel_rows, product.kernel_columns) <= 15
      && [product.x, product.weight].allSatisfy { $0 % 16 == 0 }
      && product.x_batch % 8 == 0 && product.weight_batch % 8 == 0
  }

  private func tensorCoreLaunch(_ product: tc_cuda_product, _ element: ElementType) throws -> any Runnable {
    let (rows, columns) = (Int(product.out_height * product.out_width), Int(product.filters))
    let depth = Int(product.kernel_rows * product.kernel_columns * product.channels)
    var choice = TileChoice.best(
      rows: rows * Int(product.batches), columns: columns, depth: depth, on: context.device)
    if product.batches > 1 { choice.splits = 1 }
    var product = product
    product.splits = Int32(choice.splits)
    let tile = choice.tile
    let half = library.sums == .f16 && element == .f16 && tile.takesHalfSums
    let module = KernelModule("product.cu", element, tile.defines + (half ? ["SUMS=TC_F16"] : []))
    let main = try launch(
      "product", module, product,
      grid: Extent(
        x: ceiling(rows, tile.rows), y: ceiling(columns, tile.columns),
        z: Int(product.batches) * choice.splits),
      threads: Tile.threads, sharedMemory: tile.sharedMemory)
    guard choice.splits > 1 else { return main }
    let finish = try launch(
      "product_finish", KernelModule("product_finish.cu"), product,
      grid: Extent(x: ceiling(rows * ceiling(columns, 8), 256)), threads: 256)
    scratch.request(choice.splits * rows * columns * 4) { address in
      main.parameters.pointee.partial = address
      finish.parameters.pointee.partial = address
    }
    return SequenceWork([main, finish])
  }

  private func plainLaunch(_ product: tc_cuda_product, _ element: ElementType) throws
    -> Launch<tc_cuda_product>
  {
    let (rows, columns) = (Int(product.out_height * product.out_width), Int(product.filters))
    let module = KernelModule("product_plain.cu", element)
    let grid = Extent(x: ceiling(rows, 64), y: ceiling(columns, 64), z: Int(product.batches))
    return try launch("product_plain", module, product, grid: grid, threads: 256, sharedMemory: 8704)
  }

  /// A product of matrices that lie in scratch memory, whose addresses come later: rows of `x` times rows of `weight`.
  func scratchProduct(_ product: tc_cuda_product, _ element: ElementType) throws -> Launch<tc_cuda_product> {
    guard runsOnTensorCores(product, element) else { return try plainLaunch(product, element) }
    let (rows, columns) = (Int(product.out_height), Int(product.filters))
    let tile = Tile(rows: 64, columns: 64, stages: context.device.sharedMemory >= 64 << 10 ? 4 : 2)
    let module = KernelModule("product.cu", element, tile.defines)
    return try launch(
      "product", module, product,
      grid: Extent(
        x: ceiling(rows, tile.rows), y: ceiling(columns, tile.columns), z: Int(product.batches)),
      threads: Tile.threads, sharedMemory: tile.sharedMemory)
  }
}
