import CCUDA
import Engine

extension Lowering {
  func convolution(_ value: Value, _ node: Node, _ settings: Convolution, _ result: Operand) throws
    -> any Runnable
  {
    let x = try operand(node.inputs[0])
    let weight = plan.graph.shape(node.inputs[1])
    var product = try product(node, settings.epilogue, result)
    (product.height, product.width) = (Int32(x.type.shape[0]), Int32(x.type.shape[1]))
    (product.kernel_rows, product.kernel_columns) = (Int32(weight[1]), Int32(weight[2]))
    product.stride = Int32(settings.stride)
    (product.pad_top, product.pad_left) = (Int32(settings.padding.top), Int32(settings.padding.left))
    let parts = settings.parts(of: result.type.shape)
    (product.out_height, product.out_width) = (Int32(parts[0]), Int32(parts[1]))
    product.joins_phases = settings.joinsPhases ? 1 : 0
    return try launch(product, x.type.element, constants: constants(node, settings.epilogue))
  }

  func linear(_ node: Node, _ epilogue: Epilogue, _ result: Operand) throws -> any Runnable {
    if takesEightBits(node) { return try eightBitLinear(node, epilogue, result) }
    let x = try operand(node.inputs[0])
    var product = try product(node, epilogue, result)
    (product.height, product.width) = (Int32(x.rows), 1)
    (product.kernel_rows, product.kernel_columns, product.stride) = (1, 1, 1)
    (product.out_height, product.out_width) = (Int32(x.rows), 1)
    return try launch(product, x.type.element, constants: constants(node, epilogue))
  }

  func constants(_ node: Node, _ epilogue: Epilogue) -> ProductConstants {
    func isLoaded(_ value: Value) -> Bool { plan.graph[value].cadence == .load && node.cadence != .load }
    return ProductConstants(
      weight: isLoaded(node.inputs[1]), bias: epilogue.biasIndex.map { isLoaded(node.inputs[$0]) } ?? false)
  }

  /// What convolutions and linear layers have in common.
  func product(_ node: Node, _ epilogue: Epilogue, _ result: Operand) throws -> tc_cuda_product {
    let (x, weight) = (try operand(node.inputs[0]), try operand(node.inputs[1]))
    guard weight.type.element == x.type.element else {
      throw EngineError.unsupported("\(x.type) times \(weight.type)", backend: "the CUDA backend")
    }
    var product = tc_cuda_product()
    (product.x, product.weight, product.result) = (x.address, weight.address, result.address)
    (product.channels, product.x_stride) = (Int32(x.columns), Int32(x.rowStride))
    product.weight_stride = Int32(weight.type.count / weight.type.shape[0])
    product.filters = Int32(weight.type.shape[0])
    product.geglu = epilogue.gated ? 1 : 0
    product.result_stride = Int32(result.rowStride)
    product.result_element = result.type.element.code
    product.splits = 1
    product.scale = 1
    product.activation = epilogue.activation?.code ?? TC_IDENTITY
    if let index = epilogue.biasIndex {
      let bias = try operand(node.inputs[index])
      (product.bias, product.bias_element) = (bias.address, bias.type.element.code)
    }
    if let sums = epilogue.weightSumsIndex, let moments = epilogue.momentsIndex {
      product.weight_sums = try operand(node.inputs[sums]).address
      product.moments = try operand(node.inputs[moments]).address
    }
    if epilogue.residual {
      let residual = try operand(node.inputs[node.inputs.count - 1])
      (product.residual, product.residual_stride) = (residual.address, Int32(residual.rowStride))
    }
    return product
  }
}
