import CDNNL
import CKernels
import Engine

extension Lowering {
  /// A convolution over NHWC memory. Legend: N 1, C K channels, R S kernel, as oneDNN orders dimensions.
  func convolution(_ value: Value, _ node: Node, _ settings: Convolution, _ result: Operand) throws
    -> any Runnable
  {
    guard !settings.joinsPhases else {
      throw EngineError.unsupported("convolutions that join phases", backend: "the CPU backend")
    }
    let input = try operand(node.inputs[0])
    let (x, w) = (input.type.shape, plan.graph.shape(node.inputs[1]))
    if w[1] == 1 && w[2] == 1 && settings.stride == 1 && settings.padding == Padding(0) {
      // A matrix product over pixels.
      return try linear(value, node, settings.epilogue, result)
    }
    let element = input.type.element
    let plain = try Descriptor(
      [w[0], w[3], w[1], w[2]], plan.graph.type(node.inputs[1]).element,
      strides: [w[1] * w[2] * w[3], 1, w[2] * w[3], w[3]])
    if Self.isNarrow(w, element, settings) {
      return try narrowConvolution(node, settings, input, result)
    }
    let weight = plan.graph[node.inputs[1]]
    if let convolution = WinogradConvolution(node, settings, source: input.type, weight: weight) {
      return try winograd(node, settings, convolution, result)
    }
    guard !settings.upsamplesInput else {
      throw EngineError.unsupported("plain convolutions that double", backend: "the CPU backend")
    }
    if let product = panelProduct(node, settings.epilogue) {
      return try panels(node, product, settings.epilogue, settings, result)
    }
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

  /// Whether a kernel of our own takes the convolution with weights `[K, R, S, C]`.
  private static func isNarrow(_ weights: [Int], _ element: ElementType, _ settings: Convolution) -> Bool {
    weights[0] <= tc_narrow_outputs && weights[3] % tc_narrow_channels == 0
      && settings.stride == 1 && !settings.epilogue.residual && !settings.epilogue.scaled
      && (element == .bf16 || element == .f32)
  }

  private func narrowConvolution(
    _ node: Node, _ settings: Convolution, _ input: Operand, _ result: Operand
  ) throws -> any Runnable {
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

  func linear(_ value: Value, _ node: Node, _ epilogue: Epilogue, _ result: Operand) throws -> any Runnable {
    if let product = panelProduct(node, epilogue) {
      return try panels(node, product, epilogue, nil, result)
    }
    guard !epilogue.gated, !epilogue.normalized else {
      throw EngineError.unsupported("gated or normalized products", backend: "the CPU backend")
    }
    let input = try operand(node.inputs[0])
    let (features, width) = (node.type.columns, input.columns)
    let element = input.type.element
    let source = try Descriptor([input.rows, width], element, strides: [input.rowStride, 1])
    let target = try Descriptor([input.rows, features], node.type.element, strides: [result.rowStride, 1])
    var weights = try Descriptor(any: [width, features], element)
    let plain = try Descriptor(
      [width, features], plan.graph.type(node.inputs[1]).element, strides: [1, width])
    var bias = try Descriptor([1, features], .f32, strides: [features, 1])
    let biased = epilogue.bias && !epilogue.scaled
    var operation = dnnl_matmul_desc_t()
    let (from, to) = (source.raw, target.raw)
    let status = withUnsafePointer(to: from) { from in
      withUnsafePointer(to: to) { to in
        withUnsafeMutablePointer(to: &bias.raw) { bias in
          dnnl_matmul_desc_init(&operation, from, &weights.raw, biased ? bias : nil, to)
        }
      }
    }
    try check(status, "dnnl_matmul_desc_init", describe(value))
    return try product(
      value, node, epilogue, &operation, source: (input, source), plain: plain, bias: bias,
      target: (result, target))
  }

  /// The primitive of a product with packed weights, bias and epilogue bound.
  private func product(
    _ value: Value, _ node: Node, _ epilogue: Epilogue, _ operation: UnsafeRawPointer,
    source: (Operand, Descriptor), plain: Descriptor, bias: Descriptor, target: (Operand, Descriptor)
  ) throws -> any Runnable {
    var postOps = PostOps()
    var bound: [(Int32, Memory)] = []
    /// An operation with the memory of its operand, which oneDNN finds by the operation's place.
    func append(
      _ operation: (Descriptor) -> PostOps.Operation, reading descriptor: Descriptor,
      _ pointer: UnsafeMutableRawPointer, owner: Buffer? = nil
    ) throws {
      postOps.operations.append(operation(descriptor))
      let place = DNNL_ARG_ATTR_MULTIPLE_POST_OP_BASE * Int32(postOps.operations.count)
      bound.append((place | DNNL_ARG_SRC_1, try Memory(dnnl, descriptor, pointer, owner: owner)))
    }
    if let index = epilogue.scaleIndex {
      let vector = try packer.pack(node.inputs[index], .vector)
      try append(PostOps.Operation.multiply, reading: target.1.perChannel(), vector.pointer, owner: vector)
    }
    if let index = epilogue.biasIndex {
      let vector = try packer.pack(node.inputs[index], .vector)
      if epilogue.scaled {
        // oneDNN adds a bias of its own before the scale.
        try append(PostOps.Operation.add, reading: target.1.perChannel(), vector.pointer, owner: vector)
      } else {
        bound.append((DNNL_ARG_BIAS, try Memory(dnnl, bias, vector.pointer, owner: vector)))
      }
    }
    let residual = epilogue.residual ? try operand(node.inputs[node.inputs.count - 1]) : nil
    let isElsewhere = residual.map { $0.pointer != target.0.pointer } ?? false
    let isCopied = isElsewhere && addsWrongly(node)
    if let residual, isElsewhere, !isCopied {
      try append(PostOps.Operation.add, reading: target.1, residual.pointer)
    } else if residual != nil {
      postOps.operations.append(.sum)
    }
    if let activation = epilogue.activation { postOps.operations.append(.activation(activation)) }
    let primitive = try Primitive.make(dnnl, operation, postOps, op: describe(value))
    guard let layout = primitive.weights else {
      throw CPUError.library(call: "query", status: "no weights", op: describe(value))
    }
    let weights = try packer.pack(node.inputs[1], .weights(from: plain, to: layout))
    bound += [
      (DNNL_ARG_SRC_0, try Memory(dnnl, source.1, source.0.pointer)),
      (DNNL_ARG_WEIGHTS_0, try Memory(dnnl, layout, weights.pointer, owner: weights)),
      (DNNL_ARG_DST_0, try Memory(dnnl, target.1, target.0.pointer)),
    ]
    if let scratchpad = try scratchMemory(of: primitive) { bound.append((DNNL_ARG_SCRATCHPAD, scratchpad)) }
    let work = PrimitiveWork(dnnl, primitive, bound)
    guard isCopied, let residual else { return work }
    return SequenceWork([copyRows(residual, target.0), work])
  }

  /// oneDNN 2.6's convolutions add other memory wrongly where the kernel is 1x1 (for some sizes) or the processor
  /// has no AVX2 (for most): such residuals are copied to the result first, and summed there.
  private func addsWrongly(_ node: Node) -> Bool {
    guard case .convolution = node.op else { return false }
    return !DNNL.has(dnnl_cpu_isa_avx2) || plan.graph.shape(node.inputs[1])[1...2] == [1, 1]
  }

  /// The scratch memory that a primitive asks for; it moves to its place when all have asked.
  func scratchMemory(of primitive: Primitive) throws -> Memory? {
    guard let descriptor = primitive.scratchpad, descriptor.byteCount > 0 else { return nil }
    let memory = try Memory(dnnl, descriptor, nil)
    scratch.request(descriptor.byteCount) { try memory.move(to: $0) }
    return memory
  }

  func groupNorm(
    _ node: Node, _ groups: Int, _ epsilon: Float, _ activation: Activation?, _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let gain = try packer.pack(node.inputs[1], .vector)
    let shift = try packer.pack(node.inputs[2], .vector)
    let factors = try factors(node, after: 3)
    let blocks = GroupNormWork.blocks(rows: input.rows, channels: input.columns, threads: threads)
    let parameters = tc_group_norm(
      source: input.pointer, destination: result.pointer,
      gain: gain.pointer.assumingMemoryBound(to: Float.self),
      shift: shift.pointer.assumingMemoryBound(to: Float.self), partial: nil, channel: nil, rows: input.rows,
      channels: input.columns, groups: groups, source_stride: input.rowStride,
      destination_stride: result.rowStride, blocks: blocks, epsilon: epsilon,
      activation: activation.map(Self.function) ?? tc_identity, element: Self.code(input.type.element),
      quantum: Self.floats(factors))
    let work = GroupNormWork(parameters, keep: [gain, shift] + (factors.map { [$0] } ?? []))
    let floats = tc_group_scratch(blocks, input.columns)
    scratch.request(floats * 4) { [unowned work] memory in
      let partial = memory.assumingMemoryBound(to: Float.self)
      work.parameters.pointer.pointee.partial = partial
      work.parameters.pointer.pointee.channel = partial + blocks * 2 * input.columns
    }
    return work
  }

  func layerNorm(_ node: Node, _ epsilon: Float, _ result: Operand) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let gain = try packer.pack(node.inputs[1], .vector)
    let shift = try packer.pack(node.inputs[2], .vector)
    let factors = try factors(node, after: 3)
    let parameters = tc_layer_norm(
      source: input.pointer, destination: result.pointer,
      gain: gain.pointer.assumingMemoryBound(to: Float.self),
      shift: shift.pointer.assumingMemoryBound(to: Float.self), rows: input.rows, columns: input.columns,
      source_stride: input.rowStride, destination_stride: result.rowStride, epsilon: epsilon,
      element: Self.code(input.type.element), quantum: Self.floats(factors))
    return KernelWork(
      tc_kernel(tc_kernel_layer_norm), parameters, count: input.rows, grain: max(1, 8192 / input.columns),
      keep: [gain, shift] + (factors.map { [$0] } ?? []))
  }

  func attention(_ node: Node, _ heads: Int, _ scale: Float, _ causal: Bool, _ result: Operand) throws
    -> any Runnable
  {
    let (q, k, v) = (try operand(node.inputs[0]), try operand(node.inputs[1]), try operand(node.inputs[2]))
    let dimension = q.columns / heads
    var parameters = tc_attention(
      q: q.pointer, k: k.pointer, v: v.pointer, destination: result.pointer, queries: q.rows, keys: k.rows,
      heads: heads, dimension: dimension, key_block: tc_attention_key_block(k.rows), q_stride: q.rowStride,
      k_stride: k.rowStride,
      v_stride: v.rowStride, destination_stride: result.rowStride, scale: scale, causal: causal ? 1 : 0,
      element: Self.code(q.type.element), scratch: nil, scratch_size: 0, packed: nil)
    let size = tc_attention_scratch(&parameters)
    parameters.scratch_size = size
    let work = AttentionWork(parameters)
    let packed = (tc_attention_packed_size(&parameters) + 63) / 64 * 64
    scratch.request(packed + size * threads) { [unowned work] memory in
      work.parameters.pointer.pointee.packed = memory
      work.parameters.pointer.pointee.scratch = memory + packed
    }
    return work
  }
}
