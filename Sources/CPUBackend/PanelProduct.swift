import CDNNL
import CKernels
import Engine

/// A product that a kernel of our own computes, with weights in panels of 16 columns (Panels.h).
enum PanelProduct {
  /// bf16 by bf16. oneDNN waits for weights that come from memory in every frame, which is all of them in a large model;
  /// and a gate meets its value before either is stored.
  case bfloat16
  /// f32 by weights that lie in the file in 16 bits and stay so: for processors without products of bf16, where a model
  /// would take twice its file.
  case sixteenBitWeights(ElementType)

  /// Numbers below which weights stay in the cache, or the memory is not worth it.
  private static let fewestWeights = 1 << 18

  /// nil where another way is better. `stored`: as the weights lie in the file.
  init?(_ node: Node, _ epilogue: Epilogue, source: TensorType, weight: TensorType, stored: ElementType) {
    guard !epilogue.scaled, !epilogue.normalized, weight.shape[0] % 16 == 0,
      source.element == node.type.element
    else { return nil }
    if epilogue.gated || weight.count >= Self.fewestWeights && weight.shape.count == 2,
      Self.multipliesBfloat16(source, weight)
    {
      self = .bfloat16
    } else if Self.unpacksWeights(source, weight, stored) {
      self = .sixteenBitWeights(stored)
    } else {
      return nil
    }
  }

  private static func multipliesBfloat16(_ source: TensorType, _ weight: TensorType) -> Bool {
    source.element == .bf16 && source.columns % 2 == 0 && hasBfloat16Dot
  }

  private static func unpacksWeights(_ source: TensorType, _ weight: TensorType, _ stored: ElementType)
    -> Bool
  {
    source.element == .f32 && (stored == .f16 || stored == .bf16) && unpacksFast
      && weight.count >= fewestWeights
  }

  /// Whether a linear layer's result may go through GEGLU at once. `stored`: as the weights lie in the file.
  static func gates(_ source: TensorType, _ weight: TensorType, stored: ElementType) -> Bool {
    (multipliesBfloat16(source, weight) || unpacksWeights(source, weight, stored))
      && weight.shape[0] % 32 == 0
  }

  /// Instructions that multiply pairs of bf16. AMX multiplies far more at once, and is oneDNN's.
  private static let hasBfloat16Dot =
    tc_multiplies_pairs() != 0 && !DNNL.has(dnnl_cpu_isa_avx512_core_amx)

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

extension PanelProduct {
  /// Whether weights are packed two channels at a time.
  var isInPairs: Bool { if case .bfloat16 = self { true } else { false } }

  /// Of the packed weights.
  var element: ElementType {
    switch self {
    case .bfloat16: return .bf16
    case .sixteenBitWeights(let stored): return stored
    }
  }
}

/// A product with weights in panels.
final class PanelWork: Runnable {
  let parameters: Parameters<tc_panels>

  /// Results at a time: so many that their sums fit a core's own cache, and no fewer than use a weight often. Sums of
  /// floats are read and written for shorter pieces of the weights, so more often.
  private static let mostRows = 384
  private static let mostRowsOfFloats = 128
  private static let fewestRows = 96
  /// To unpack a piece of the weights takes about as long as to multiply two rows by it.
  private static let fewestRowsOfFloats = 24
  /// Items for each thread, so that none waits long for the last.
  private static let items = 4

  init(_ values: tc_panels, rows: Int, threads: Int, keep: [Buffer]) {
    parameters = Parameters(values, keep: keep)
    let place = parameters.pointer
    let (most, fewest) =
      values.pairs != 0 ? (Self.mostRows, Self.fewestRows) : (Self.mostRowsOfFloats, Self.fewestRowsOfFloats)
    place.pointee.block = min(rows, most)
    while place.pointee.block >= 2 * fewest, tc_panels_items(place) < Self.items * threads {
      place.pointee.block /= 2
    }
  }

  var implementation: String { parameters.pointer.pointee.pairs != 0 ? "panels" : "halves" }

  func run() {
    withExtendedLifetime(self) {
      let place = parameters.pointer
      tc_parallel_in_turns(tc_kernel(tc_kernel_panels), place, tc_panels_items(place))
    }
  }
}
