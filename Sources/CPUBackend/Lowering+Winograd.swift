import CKernels
import Engine

extension Lowering {
  /// A 3x3 convolution in tiles of 4x4 results.
  func winograd(
    _ node: Node, _ settings: Convolution, _ convolution: WinogradConvolution, _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let epilogue = settings.epilogue
    let stored = storedFilters(node.inputs[1])
    let weights = try packer.pack(
      node.inputs[1], convolution.transformsAtLoad ? .tiles : .panels(stored, inPairs: false))
    let bias = try epilogue.biasIndex.map { try packer.pack(node.inputs[$0], .vector) }
    let residual = epilogue.residual ? try operand(node.inputs[node.inputs.count - 1]) : nil
    let (x, y) = (input.type.shape, node.type.shape)
    var parameters = tc_winograd()
    parameters.source = UnsafeRawPointer(input.pointer)
    parameters.weights = convolution.transformsAtLoad ? Self.floats(weights) : nil
    parameters.filters = convolution.transformsAtLoad ? nil : UnsafeRawPointer(weights.pointer)
    parameters.stored = Self.code(stored)
    parameters.bias = Self.floats(bias)
    parameters.residual = residual.map { UnsafeRawPointer($0.pointer) }
    parameters.destination = result.pointer
    (parameters.height, parameters.width, parameters.channels) = (x[0], x[1], x[2])
    (parameters.result_height, parameters.result_width, parameters.outputs) = (y[0], y[1], y[2])
    (parameters.top, parameters.left) = (settings.padding.top, settings.padding.left)
    parameters.doubles = settings.upsamplesInput ? 1 : 0
    parameters.residual_stride = residual?.rowStride ?? 0
    parameters.destination_stride = result.rowStride
    parameters.tiles_across = (y[1] + 3) / 4
    parameters.tiles = WinogradConvolution.tiles(of: y)
    parameters.element = Self.code(input.type.element)
    parameters.activation = epilogue.activation.map(Self.function) ?? tc_identity
    let work = WinogradWork(parameters, threads: threads, keep: [weights] + (bias.map { [$0] } ?? []))
    scratch.request(work.scratchFloats * 4) { [unowned work] in
      work.use($0.assumingMemoryBound(to: Float.self))
    }
    return work
  }

  /// The fewest bytes that hold every number of the weights and are unpacked fast: 16 bits, or f32, into
  /// which a file's integers are converted too.
  private func storedFilters(_ weights: Value) -> ElementType {
    guard PanelProduct.unpacksFast else { return .f32 }
    let element = plan.graph.type(weights).element == .bf16 ? .bf16 : packer.stored(weights)
    return element.byteCount == 2 ? element : .f32
  }

  /// Transforms weights `[K, 3, 3, C]`.
  static func tiles(
    of weights: UnsafeRawPointer, _ type: TensorType, into memory: UnsafeMutableRawPointer
  ) -> any Runnable {
    let (outputs, channels) = (type.shape[0], type.shape[3])
    let parameters = tc_winograd_filters(
      source: weights, destination: memory.assumingMemoryBound(to: Float.self), channels: channels,
      outputs: outputs, element: code(type.element))
    return KernelWork(
      tc_kernel(tc_kernel_winograd_filters), parameters, count: outputs / 16 * (channels / 16), grain: 1)
  }
}
