import CDNNL
import CKernels
import Engine

extension Lowering {
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
  func product(
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

  /// oneDNN 2.6's convolutions add other memory wrongly where the kernel is 1x1 (for some sizes) or the
  /// processor has no AVX2 (for most): such residuals are copied to the result first, and summed there.
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
}
