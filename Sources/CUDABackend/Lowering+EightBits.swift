import CCUDA
import Engine

extension Lowering {
  /// Whether a linear layer's operands are rounded to e4m3: those behind a layer norm, whose rows are read
  /// for their moments in any case. TMA needs rows that are multiples of 16 bytes.
  func takesEightBits(_ node: Node) -> Bool {
    guard case .linear(let epilogue) = node.op, epilogue.normalized, library.takesEightBits,
      node.cadence == .frame, constants(node, epilogue).weight
    else { return false }
    let types = node.inputs.prefix(2).map { plan.graph.type($0) }
    return types.allSatisfy { $0.element == .f16 } && types[0].columns % 16 == 0
  }

  /// Whether nobody reads a layer norm's moments, or weights once they are loaded, but such layers.
  func isReadInEightBits(_ value: Value) -> Bool {
    guard library.takesEightBits else { return false }
    let root = plan.layouts[value.index].root
    let readers = plan.graph.nodes.filter { node in
      node.cadence != .load && node.inputs.contains { plan.layouts[$0.index].root == root }
    }
    return !readers.isEmpty && readers.allSatisfy(takesEightBits)
  }

  /// (x - mean) / deviation and the weights, both in e4m3, and the product's end as it is for 16 bits: with a
  /// mean of 0 and, for the deviation, what gives the operands their sizes back.
  func eightBitLinear(_ node: Node, _ epilogue: Epilogue, _ result: Operand) throws -> any Runnable {
    let x = try operand(node.inputs[0])
    let weight = try eightBitWeight(node.inputs[1])
    let rows = try eightBits.rows(x.rows, columns: x.columns)
    let rounding = try roundingLaunch(node, epilogue, x, rows, weight)
    var product = try product(node, epilogue, result)
    (product.x, product.weight, product.moments) = (rows.numbers, weight.numbers, rows.moments)
    // Pairs of numbers.
    (product.channels, product.x_stride) = (Int32(x.columns / 2), Int32(x.columns / 2))
    product.weight_stride /= 2
    (product.height, product.width) = (Int32(x.rows), 1)
    (product.kernel_rows, product.kernel_columns, product.stride) = (1, 1, 1)
    (product.out_height, product.out_width) = (Int32(x.rows), 1)
    return SequenceWork([rounding, try eightBitProduct(product, constants(node, epilogue))])
  }

  private func roundingLaunch(
    _ node: Node, _ epilogue: Epilogue, _ x: Operand, _ rows: EightBitOperands.Rows,
    _ weight: EightBitOperands.Weight
  ) throws -> Launch<tc_cuda_quantize_rows> {
    guard let index = epilogue.momentsIndex,
      case .moments(let epsilon) = plan.graph[node.inputs[index]].op
    else {
      throw EngineError.unsupported("\(node.op) of other rows than a norm's", backend: "the CUDA backend")
    }
    let parameters = tc_cuda_quantize_rows(
      x: x.address, result: rows.numbers, moments: rows.moments, weight_scale: weight.scale,
      rows: Int32(x.rows), columns: Int32(x.columns), x_stride: Int32(x.rowStride), epsilon: epsilon)
    return try launch(
      "quantize_rows", KernelModule("quantize.cu"), parameters, grid: Extent(x: ceiling(x.rows, 4)),
      threads: 128)
  }

  private func eightBitProduct(_ product: tc_cuda_product, _ constants: ProductConstants) throws
    -> any Runnable
  {
    // Weights are rounded when all of them are there, before the first frame.
    let ranked = choices(Tile.warpgroups, product)
    func make(_ product: tc_cuda_product, _ choice: TileChoice, _ scratch: Scratch) throws -> WarpgroupProduct
    {
      try warpgroupLaunch(product, "TC_E4M3", choice, constants, scratch)
    }
    if case .warpgroups(let number) = library.tuning {
      let tile = Tile.warpgroups[number % Tile.warpgroups.count]
      return try make(product, choices([tile], product)[0], scratch)
    }
    let choice = try tuner?.choice(
      for: ProductShape(product, "e4m3", sums: .f32),
      weightBytes: Int(product.filters * product.weight_stride) * 2,
      // Pairs of numbers are as wide as one of f16.
      pictureBytes: pictureBytes(product, .f16), candidates: ranked.prefix(Self.candidates).map { .tile($0) }
    ) { choice, scratch, picture in
      guard case .tile(let tile) = choice else { return nil }
      return try make(timed(product, picture), tile, scratch)
    }
    if case .tile(let tile) = choice, tile.tile.isForWarpgroups { return try make(product, tile, scratch) }
    return try make(product, ranked[0], scratch)
  }

  private func eightBitWeight(_ value: Value) throws -> EightBitOperands.Weight {
    let weight = try operand(value)
    if let known = eightBits.weights[weight.address] { return known }
    let made = try eightBits.weight(of: weight, replacesIt: isReadInEightBits(value))
    let parameters = tc_cuda_quantize(
      x: weight.address, result: made.numbers, scale: made.scale, count: Int64(weight.type.count))
    let module = KernelModule("quantize.cu")
    afterLoad.append(
      try launch(
        "largest", module, parameters, grid: Extent(x: 1), threads: 1024, sharedMemory: 128))
    afterLoad.append(
      try launch(
        "quantize", module, parameters, grid: elementGrid(weight.type.count, each: 8),
        threads: Self.elementThreads))
    return made
  }
}
