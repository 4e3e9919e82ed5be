import CCUDA
import Engine

/// Which operands of a product never change while its program runs.
struct ProductConstants {
  var weight: Bool
  var bias: Bool
}

extension Lowering {
  /// The launch of a product: on tensor cores where sizes and alignment allow it.
  func launch(_ product: tc_cuda_product, _ element: ElementType, constants: ProductConstants) throws
    -> any Runnable
  {
    guard runsOnTensorCores(product, element) else { return try plainLaunch(product, element) }
    let ranked = choices(Tile.all, product)
    let takesLibrary = suitsLibrary(product, element, constants)
    let takesWarpgroups = library.takesWarpgroups && suitsWarpgroups(product)
    func make(
      _ product: tc_cuda_product, _ choice: ProductChoice, _ scratch: Scratch
    ) throws -> (any ProductWork)? {
      switch choice {
      case .tile(let choice) where choice.tile.isForWarpgroups:
        guard takesWarpgroups else { return nil }
        return try warpgroupLaunch(product, element.name, choice, constants, scratch)
      case .tile(let choice): return try tiledLaunch(product, element, choice, scratch)
      case .library(let rank): return takesLibrary ? try libraryLaunch(product, element, rank, scratch) : nil
      }
    }
    if takesWarpgroups, case .warpgroups(let number) = library.tuning {
      let tile = Tile.warpgroups[number % Tile.warpgroups.count]
      return try warpgroupLaunch(product, element.name, choices([tile], product)[0], constants, scratch)
    }
    guard let tuner else { return try tiledLaunch(product, element, ranked[0], scratch) }
    let warpgroups = takesWarpgroups ? choices(Tile.warpgroups, product) : []
    let tiles = [ranked, warpgroups].flatMap { $0.prefix(Self.candidates).map { ProductChoice.tile($0) } }
    let others = takesLibrary ? (0..<Self.candidates).map { ProductChoice.library($0) } : []
    let choice = try tuner.choice(
      for: ProductShape(product, "\(element)", sums: library.format.sums),
      weightBytes: Int(product.filters * product.weight_stride) * element.byteCount,
      pictureBytes: pictureBytes(product, element), candidates: tiles + others,
      make: { choice, scratch, picture in
        try make(timed(product, picture), choice, scratch)
      })
    // What was measured in another program may not go here.
    if let choice, let work = try make(product, choice, scratch) { return work }
    return try tiledLaunch(product, element, ranked[0], scratch)
  }

  /// Addresses are multiples of so many bytes as far as libraries take note of it.
  private static let alignment: UInt64 = 256

  /// Bytes that `timed` needs.
  func pictureBytes(_ product: tc_cuda_product, _ element: ElementType) -> Int {
    let pixels = Int(product.height) * Int(product.width) * Int(product.x_stride)
    return pixels * element.byteCount + Int(Self.alignment)
  }

  /// The product of a picture in another place, as well aligned as its own.
  func timed(_ product: tc_cuda_product, _ picture: tc_CUdeviceptr?) -> tc_cuda_product {
    var timed = product
    if let picture { timed.x = picture + product.x % Self.alignment }
    return timed
  }

  func choices(_ tiles: [Tile], _ product: tc_cuda_product) -> [TileChoice] {
    TileChoice.ranked(
      tiles, rows: Int(product.out_height * product.out_width),
      columns: Int(product.filters),
      depth: Int(product.kernel_rows * product.kernel_columns * product.channels), on: context.device)
  }

  /// So many tiles of each kind, the best by the model, and so many of cuBLASLt's proposals are measured.
  static let candidates = 6

  /// The kernel reads 8 elements of a pixel at a time.
  func runsOnTensorCores(_ product: tc_cuda_product, _ element: ElementType) -> Bool {
    guard element == .f16 || (element == .bf16 && context.device.capability >= 80) else { return false }
    let lengths = [product.channels, product.x_stride, product.weight_stride]
    return lengths.allSatisfy { $0 % 8 == 0 } && max(product.kernel_rows, product.kernel_columns) <= 15
      && [product.x, product.weight].allSatisfy { $0 % 16 == 0 }
  }

  private func tiledLaunch(
    _ product: tc_cuda_product, _ element: ElementType, _ choice: TileChoice, _ scratch: Scratch
  ) throws -> TiledProduct {
    let (rows, columns) = (Int(product.out_height * product.out_width), Int(product.filters))
    var product = product
    product.splits = Int32(choice.splits)
    let tile = choice.tile
    // Rows whose layer norm comes after the product are not centred: beside the mean's part sums of f16 would
    // keep little of them.
    let half =
      library.format.sums == .f16 && element == .f16 && tile.takesHalfSums && product.moments == 0
    let module = KernelModule("product.cu", element, tile.defines + (half ? ["SUMS=TC_F16"] : []))
    let main = try launch(
      "product", module, product,
      grid: Extent(
        x: ceiling(rows, tile.rows), y: ceiling(columns, tile.columns), z: choice.splits),
      threads: tile.threads, sharedMemory: tile.sharedMemory)
    let finish = try finishLaunch(product)
    if let finish {
      scratch.request(choice.splits * rows * columns * 4) { address in
        main.parameters.pointee.partial = address
        finish.parameters.pointee.partial = address
      }
    }
    return TiledProduct(main, finish)
  }

  /// What sums the shares of k; nil where there is one.
  func finishLaunch(_ product: tc_cuda_product) throws -> Launch<tc_cuda_product>? {
    guard product.splits > 1 else { return nil }
    let rows = Int(product.out_height * product.out_width)
    return try launch(
      "product_finish", KernelModule("product_finish.cu"), product,
      grid: Extent(x: ceiling(rows * ceiling(Int(product.filters), 8), 256)), threads: 256)
  }

  /// Whether cuBLASLt can do the same: a plain product, with a bias and a residual at most.
  private func suitsLibrary(
    _ p: tc_cuda_product, _ element: ElementType, _ constants: ProductConstants
  ) -> Bool {
    library.cublasLt != nil && p.kernel_rows == 1 && p.kernel_columns == 1 && p.stride == 1 && p.pad_top == 0
      && p.pad_left == 0 && p.geglu == 0 && p.joins_phases == 0 && p.moments == 0
      && p.activation == TC_IDENTITY && p.scale == 1 && p.result_element == element.code
      && (p.bias == 0 || constants.bias)
  }

  private func libraryLaunch(
    _ product: tc_cuda_product, _ element: ElementType, _ rank: Int, _ scratch: Scratch
  ) throws -> LibraryProduct? {
    guard let products = library.cublasLt else { return nil }
    let bias = product.bias == 0 ? nil : try bias(of: product, element)
    guard let work = try LibraryProduct(products, stream, product, element, bias: bias, rank: rank) else {
      return nil
    }
    scratch.request(work.workspace) { work.scratch = $0 }
    return work
  }

  /// The product's bias as the library takes it: of the element that is multiplied.
  private func bias(of product: tc_cuda_product, _ element: ElementType) throws -> tc_CUdeviceptr {
    if product.bias_element == element.code { return product.bias }
    if let known = halfBiases[product.bias] { return known.address }
    let count = Int(product.filters)
    let original = [ElementType.f32, .f16, .bf16].first { $0.code == product.bias_element } ?? .f32
    let buffer = try DeviceBuffer(context, count * element.byteCount)
    halfBiases[product.bias] = buffer
    afterLoad.append(
      try map(
        Operand(address: product.bias, type: TensorType([count], original), rowStride: count),
        Operand(address: buffer.address, type: TensorType([count], element), rowStride: count), TC_IDENTITY))
    return buffer.address
  }

  private func plainLaunch(_ product: tc_cuda_product, _ element: ElementType) throws
    -> Launch<tc_cuda_product>
  {
    let (rows, columns) = (Int(product.out_height * product.out_width), Int(product.filters))
    let module = KernelModule("product_plain.cu", element)
    let grid = Extent(x: ceiling(rows, 64), y: ceiling(columns, 64))
    return try launch("product_plain", module, product, grid: grid, threads: 256, sharedMemory: 8704)
  }

  /// A product of matrices that lie in scratch memory, whose addresses come later: rows of `x` times rows of
  /// `weight`.
  func scratchProduct(_ product: tc_cuda_product, _ element: ElementType) throws -> Launch<tc_cuda_product> {
    guard runsOnTensorCores(product, element) else { return try plainLaunch(product, element) }
    let (rows, columns) = (Int(product.out_height), Int(product.filters))
    let tile = Tile(rows: 64, columns: 64, stages: context.device.sharedMemory >= 64 << 10 ? 4 : 2)
    let module = KernelModule("product.cu", element, tile.defines)
    return try launch(
      "product", module, product,
      grid: Extent(
        x: ceiling(rows, tile.rows), y: ceiling(columns, tile.columns)),
      threads: tile.threads, sharedMemory: tile.sharedMemory)
  }
}
