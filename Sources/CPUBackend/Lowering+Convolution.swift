import CDNNL
import CKernels
import Engine

extension Lowering {
  /// A convolution over NHWC memory.
  func convolution(_ value: Value, _ node: Node, _ settings: Convolution, _ result: Operand) throws
    -> any Runnable
  {
    switch try convolutionMethod(node, settings) {
    case .product: return try linear(value, node, settings.epilogue, result)
    case .narrow: return try narrowConvolution(node, settings, result)
    case .winograd(let convolution): return try winograd(node, settings, convolution, result)
    case .panels(let product): return try panels(node, product, settings.epilogue, settings, result)
    case .direct: return try directConvolution(value, node, settings, result)
    }
  }

  /// oneDNN's. Legend: N 1, C K channels, R S kernel, as oneDNN orders dimensions.
  private func directConvolution(
    _ value: Value, _ node: Node, _ settings: Convolution, _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let (x, w) = (input.type.shape, plan.graph.shape(node.inputs[1]))
    let element = input.type.element
    let plain = try Descriptor(
      [w[0], w[3], w[1], w[2]], plan.graph.type(node.inputs[1]).element,
      strides: [w[1] * w[2] * w[3], 1, w[2] * w[3], w[3]])
    let source = try Self.picture(x, element)
    let target = try Self.picture(node.type.shape, node.type.element)
    var weights = try Descriptor(any: [w[0], w[3], w[1], w[2]], element)
    var bias = try Descriptor([w[0]], .f32, strides: [1])
    let padding = settings.padding
    let biased = settings.epilogue.bias && !settings.epilogue.scaled
    var operation = dnnl_convolution_desc_t()
    let (from, to) = (source.raw, target.raw)
    let status = withUnsafePointer(to: from) { from in
      withUnsafePointer(to: to) { to in
        withUnsafeMutablePointer(to: &bias.raw) { bias in
          dnnl_convolution_forward_desc_init(
            &operation, dnnl_forward_inference, dnnl_convolution_direct, from, &weights.raw,
            biased ? bias : nil, to, [Int64(settings.stride), Int64(settings.stride)],
            [Int64(padding.top), Int64(padding.left)], [Int64(padding.bottom), Int64(padding.right)])
        }
      }
    }
    try check(status, "dnnl_convolution_forward_desc_init", describe(value))
    return try product(
      value, node, settings.epilogue, &operation, source: (input, source), plain: plain, bias: bias,
      target: (result, target))
  }

  private func narrowConvolution(
    _ node: Node, _ settings: Convolution, _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let (x, w) = (input.type.shape, plan.graph.shape(node.inputs[1]))
    let weights = try packer.pack(node.inputs[1], .dense(input.type.element))
    let bias = try settings.epilogue.biasIndex.map { try packer.pack(node.inputs[$0], .vector) }
    let parameters = tc_narrow_convolution(
      source: input.pointer, weights: weights.pointer,
      bias: bias?.pointer.assumingMemoryBound(to: Float.self),
      destination: result.pointer, height: x[0], width: x[1], channels: x[2], outputs: w[0],
      kernel_height: w[1],
      kernel_width: w[2], top: settings.padding.top, left: settings.padding.left,
      result_width: node.type.shape[1], destination_stride: result.rowStride,
      element: Self.code(input.type.element), destination_element: Self.code(node.type.element),
      activation: settings.epilogue.activation.map(Self.function) ?? tc_identity)
    return KernelWork(
      tc_kernel(tc_kernel_narrow_convolution), parameters, count: node.type.shape[0], grain: 1,
      keep: [weights] + (bias.map { [$0] } ?? []))
  }

  /// `[H, W, C]` as oneDNN's 1, C, H, W with channels innermost.
  private static func picture(_ shape: [Int], _ element: ElementType) throws -> Descriptor {
    let (height, width, channels) = (shape[0], shape[1], shape[2])
    return try Descriptor(
      [1, channels, height, width], element,
      strides: [height * width * channels, 1, width * channels, channels])
  }
}
