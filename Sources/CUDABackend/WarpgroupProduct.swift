import CCUDA

/// The kernel for warpgroups, and where k is shared the one that sums the shares.
final class WarpgroupProduct: ProductWork {
  private let driver: Driver
  private let main: Launch<tc_cuda_warpgroup_product>
  private let work: SequenceWork
  /// Filters of a tile.
  private let columns: Int

  init(
    _ driver: Driver, _ main: Launch<tc_cuda_warpgroup_product>, _ finish: Launch<tc_cuda_product>?,
    columns: Int
  ) {
    (self.driver, self.main, self.columns) = (driver, main, columns)
    work = SequenceWork([main] + (finish.map { [$0] } ?? []))
  }

  func use(weight: tc_CUdeviceptr) throws {
    let product = main.parameters.pointee.product
    let depth = UInt64(product.kernel_rows * product.kernel_columns * product.channels)
    main.parameters.pointee.weight = try TensorMap(
      address: weight, sizes: (depth, UInt64(product.filters), 1),
      strides: (UInt64(product.weight_stride), UInt64(product.weight_stride) * UInt64(product.filters)),
      box: (UInt32(Tile.depth), UInt32(columns), 1)
    ).encoded(driver)
  }

  func run() throws { try work.run() }
  var label: String { work.label }
}
