import CKernels
import Engine

extension Lowering {
  /// How panels compute a product; nil where another way is better.
  func panelProduct(_ node: Node, _ epilogue: Epilogue) -> PanelProduct? {
    PanelProduct(
      node, epilogue, source: plan.graph.type(node.inputs[0]), weight: plan.graph.type(node.inputs[1]),
      stored: packer.stored(node.inputs[1]))
  }

  /// A linear layer (no `settings`) is a convolution of one tap over a picture one pixel wide.
  func panels(
    _ node: Node, _ product: PanelProduct, _ epilogue: Epilogue, _ settings: Convolution?, _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let shape = plan.graph.shape(node.inputs[1])
    let weights = try packer.pack(node.inputs[1], .panels(product.element, inPairs: product.isInPairs))
    let bias = try epilogue.biasIndex.map { try packer.pack(node.inputs[$0], .vector) }
    let residual = epilogue.residual ? try operand(node.inputs[node.inputs.count - 1]) : nil
    var parameters = tc_panels()
    parameters.source = UnsafeRawPointer(input.pointer)
    parameters.weights = UnsafeRawPointer(weights.pointer)
    parameters.bias = Self.floats(bias)
    parameters.residual = residual.map { UnsafeRawPointer($0.pointer) }
    parameters.destination = result.pointer
    (parameters.height, parameters.width) = (input.rows, 1)
    (parameters.result_height, parameters.result_width) = (result.rows, 1)
    (parameters.kernel_height, parameters.kernel_width, parameters.stride) = (1, 1, 1)
    if let settings {
      let (x, y) = (input.type.shape, node.type.shape)
      (parameters.height, parameters.width) = (x[0], x[1])
      (parameters.result_height, parameters.result_width) = (y[0], y[1])
      (parameters.kernel_height, parameters.kernel_width) = (shape[1], shape[2])
      (parameters.top, parameters.left) = (settings.padding.top, settings.padding.left)
      parameters.stride = settings.stride
    }
    (parameters.channels, parameters.outputs) = (input.columns, shape[0])
    (parameters.source_stride, parameters.destination_stride) = (input.rowStride, result.rowStride)
    parameters.residual_stride = residual?.rowStride ?? 0
    parameters.element = Self.code(input.type.element)
    parameters.stored = Self.code(product.element)
    parameters.pairs = product.isInPairs ? 1 : 0
    parameters.gated = epilogue.gated ? 1 : 0
    parameters.activation = epilogue.activation.map(Self.function) ?? tc_identity
    let work = PanelWork(
      parameters, rows: result.rows, threads: threads, keep: [weights] + (bias.map { [$0] } ?? []))
    scratch.request(tc_panels_scratch(work.parameters.pointer) * threads) { [unowned work] in
      work.parameters.pointer.pointee.scratch = $0
    }
    return work
  }

  /// Packs weights `[K, ..., C]`.
  static func panels(
    _ weights: Operand, _ element: ElementType, inPairs: Bool, into memory: UnsafeMutableRawPointer
  ) -> any Runnable {
    let shape = weights.type.shape
    let taps = shape.dropFirst().dropLast().reduce(1, *)
    let parameters = tc_panels_pack(
      source: UnsafeRawPointer(weights.pointer), destination: memory, channels: weights.columns, taps: taps,
      source_element: code(weights.type.element), element: code(element), pairs: inPairs ? 1 : 0)
    return KernelWork(tc_kernel(tc_kernel_panels_pack), parameters, count: shape[0] / 16 * taps, grain: 1)
  }
}
