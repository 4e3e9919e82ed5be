import CCUDA
import Engine

extension Lowering {
  /// Whether boxes of a picture can be brought as a product needs them: every pixel.
  func suitsWarpgroups(_ product: tc_cuda_product) -> Bool { product.stride == 1 }

  /// A product by Hopper's warpgroups (product_warpgroup.cu). `operand`: TC_F16 and so on; of TC_E4M3 pairs
  /// count as one.
  func warpgroupLaunch(
    _ product: tc_cuda_product, _ operand: String, _ choice: TileChoice, _ constants: ProductConstants,
    _ scratch: Scratch
  ) throws -> WarpgroupProduct {
    let tile = choice.tile
    var product = inOneRow(product)
    product.splits = Int32(choice.splits)
    var parameters = tc_cuda_warpgroup_product()
    parameters.product = product
    parameters.box_shift = boxShift(product, pixels: tile.rows)
    parameters.has_early_weights = constants.weight ? 1 : 0
    let boxWidth = 1 << Int(parameters.box_shift)
    parameters.x = try TensorMap(
      address: product.x,
      sizes: (UInt64(product.channels), UInt64(product.width), UInt64(product.height)),
      strides: (UInt64(product.x_stride), UInt64(product.width) * UInt64(product.x_stride)),
      box: (UInt32(Tile.depth), UInt32(boxWidth), UInt32(tile.rows / boxWidth))
    ).encoded(stream.driver)
    let boxes = (
      ceiling(Int(product.out_width), boxWidth),
      ceiling(Int(product.out_height), tile.rows / boxWidth)
    )
    let main = try launch(
      "product_warpgroup", KernelModule("product_warpgroup.cu", ["ELEMENT=\(operand)"] + tile.defines),
      parameters,
      grid: Extent(x: boxes.0 * boxes.1, y: ceiling(Int(product.filters), tile.columns), z: choice.splits),
      threads: tile.threads, sharedMemory: tile.sharedMemory)
    let finish = try finishLaunch(product)
    if let finish {
      let count = Int(product.out_height) * Int(product.out_width) * Int(product.filters)
      scratch.request(choice.splits * count * 4) { address in
        main.parameters.pointee.product.partial = address
        finish.parameters.pointee.partial = address
      }
    }
    let work = WarpgroupProduct(stream.driver, main, finish, columns: tile.columns)
    try work.use(weight: product.weight)
    return work
  }

  /// A product without neighbours as that of a picture of one row: any box of it is full but the last.
  private func inOneRow(_ product: tc_cuda_product) -> tc_cuda_product {
    guard product.kernel_rows == 1, product.kernel_columns == 1, product.pad_top == 0, product.pad_left == 0,
      product.joins_phases == 0, product.height == product.out_height, product.width == product.out_width
    else { return product }
    var row = product
    (row.height, row.width) = (1, product.height * product.width)
    (row.out_height, row.out_width) = (row.height, row.width)
    return row
  }

  /// The width of a box of so many pixels that covers the result with the fewest boxes, as a power of 2; of
  /// equal ones the widest.
  private func boxShift(_ product: tc_cuda_product, pixels: Int) -> Int32 {
    let shifts = (0...pixels.trailingZeroBitCount).reversed()
    func count(_ shift: Int) -> Int {
      ceiling(Int(product.out_width), 1 << shift) * ceiling(Int(product.out_height), pixels >> shift)
    }
    return Int32(shifts.min { count($0) < count($1) } ?? 0)
  }
}
