import CKernels
import Engine

/// A product in f32 whose weights lie in the file in 16 bits, and stay so in memory: they are unpacked a piece at a time
/// while the frame is computed. For processors without products of bf16, where a model would take twice its file.
struct HalvesProduct {
  /// As the weights are stored: f16 or bf16.
  let element: ElementType

  /// Numbers below which the memory is not worth a kernel of our own.
  private static let fewestWeights = 1 << 18

  /// nil where the weights are not of 16 bits in the file, or few.
  init?(_ node: Node, _ epilogue: Epilogue, source: TensorType, weight: TensorType, stored: ElementType) {
    guard stored == .f16 || stored == .bf16, source.element == .f32, node.type.element == .f32,
      !epilogue.scaled, weight.count >= Self.fewestWeights, weight.shape[0] % 16 == 0, Self.unpacksFast
    else { return nil }
    element = stored
  }

  /// Processors since 2013: the oldest convert each f16 by a call.
  static let unpacksFast: Bool = {
    #if arch(x86_64)
      return String(cString: tc_instruction_set()) != "baseline"
    #else
      return true
    #endif
  }()
}

extension Lowering {
  func halvesProduct(_ node: Node, _ epilogue: Epilogue) -> HalvesProduct? {
    HalvesProduct(
      node, epilogue, source: plan.graph.type(node.inputs[0]), weight: plan.graph.type(node.inputs[1]),
      stored: packer.stored(node.inputs[1]))
  }

  /// A linear layer is a convolution of one tap over a picture one pixel wide.
  func halves(
    _ value: Value, _ node: Node, _ product: HalvesProduct, _ epilogue: Epilogue, _ settings: Convolution?,
    _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let shape = plan.graph.shape(node.inputs[1])
    let weights = try packer.pack(node.inputs[1], .halves(product.element), for: value)
    let bias = try epilogue.biasIndex.map { try packer.pack(node.inputs[$0], .vector, for: value) }
    let residual = epilogue.residual ? try operand(node.inputs[node.inputs.count - 1]) : nil
    let isPicture = settings != nil && shape.count == 4
    let (x, y) = (input.type.shape, node.type.shape)
    var parameters = tc_halves()
    parameters.source = Self.floats(input)
    parameters.weights = UnsafeRawPointer(weights.pointer)
    parameters.bias = Self.floats(bias)
    parameters.residual = residual.map(Self.floats)
    parameters.destination = result.pointer.assumingMemoryBound(to: Float.self)
    (parameters.height, parameters.width) = isPicture ? (x[0], x[1]) : (input.rows, 1)
    (parameters.result_height, parameters.result_width) = isPicture ? (y[0], y[1]) : (result.rows, 1)
    (parameters.channels, parameters.outputs) = (input.columns, result.columns)
    (parameters.kernel_height, parameters.kernel_width) = isPicture ? (shape[1], shape[2]) : (1, 1)
    parameters.stride = settings?.stride ?? 1
    (parameters.top, parameters.left) = (settings?.padding.top ?? 0, settings?.padding.left ?? 0)
    (parameters.source_stride, parameters.destination_stride) = (input.rowStride, result.rowStride)
    parameters.residual_stride = residual?.rowStride ?? 0
    parameters.element = Self.code(product.element)
    parameters.activation = epilogue.activation.map(Self.function) ?? tc_identity
    let work = HalvesWork(
      parameters, rows: result.rows, threads: threads, keep: [weights] + (bias.map { [$0] } ?? []))
    scratch.request(tc_halves_scratch(work.parameters) * threads) { [unowned work] in
      work.parameters.pointee.scratch = $0
    }
    return work
  }

  private static func floats(_ operand: Operand) -> UnsafePointer<Float> {
    UnsafePointer(operand.pointer.assumingMemoryBound(to: Float.self))
  }

  /// Packs weights `[K, ..., C]`.
  static func halves(_ weights: Operand, _ element: ElementType, into memory: UnsafeMutableRawPointer)
    -> any Runnable
  {
    let shape = weights.type.shape
    let taps = shape.dropFirst().dropLast().reduce(1, *)
    let parameters = tc_halves_pack(
      source: UnsafeRawPointer(weights.pointer), destination: memory, channels: weights.columns, taps: taps,
      source_element: code(weights.type.element), element: code(element))
    return KernelWork(tc_kernel(tc_kernel_halves_pack), parameters, count: shape[0] / 16 * taps, grain: 1)
  }
}

/// A product with weights of 16 bits.
final class HalvesWork: Runnable {
  let parameters: UnsafeMutablePointer<tc_halves>
  private let keep: [Buffer]

  /// Results at a time: so many that their sums fit a core's own cache, and no fewer than use an unpacked weight often.
  private static let mostRows = 384
  private static let fewestRows = 96
  /// Items for each thread, so that none waits long for the last.
  private static let items = 4

  init(_ values: tc_halves, rows: Int, threads: Int, keep: [Buffer]) {
    self.keep = keep
    parameters = .allocate(capacity: 1)
    parameters.initialize(to: values)
    parameters.pointee.block = min(rows, Self.mostRows)
    while parameters.pointee.block >= 2 * Self.fewestRows, tc_halves_items(parameters) < Self.items * threads
    {
      parameters.pointee.block /= 2
    }
  }

  var implementation: String { "halves" }

  func run() {
    withExtendedLifetime(self) {
      tc_parallel(tc_kernel(tc_kernel_halves), parameters, tc_halves_items(parameters), 1)
    }
  }

  deinit { parameters.deallocate() }
}
