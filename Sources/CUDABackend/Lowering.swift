import CCUDA
import Engine

/// Where an operand lies on the GPU.
struct Operand {
  var address: tc_CUdeviceptr
  var type: TensorType
  /// Elements from one row to the next.
  var rowStride: Int
  var rows: Int { type.rows }
  var columns: Int { type.columns }
  var isDense: Bool { rowStride == columns || rows == 1 }
}

/// Turns nodes into launches with their memory bound.
final class Lowering {
  let plan: Plan
  let stream: GPUStream
  var context: GPUContext { stream.context }
  let library: KernelLibrary
  let scratch: Scratch
  /// Address of each root, by index.
  var memory: [tc_CUdeviceptr?]
  /// Measures products whose fastest way is not known. nil: a model decides.
  let tuner: ProductTuner?
  /// Work on weights, to be run once they are there.
  var afterLoad: [any Runnable] = []
  /// Biases of the element that cuBLASLt wants, by the address of the original.
  var halfBiases: [tc_CUdeviceptr: DeviceBuffer] = [:]
  /// Operands of eight bits.
  private(set) lazy var eightBits = EightBitOperands(context)

  init(
    _ plan: Plan, _ stream: GPUStream, _ library: KernelLibrary, scratch: Scratch, tuner: ProductTuner? = nil
  ) {
    self.tuner = tuner
    self.plan = plan
    self.stream = stream
    self.library = library
    self.scratch = scratch
    memory = Array(repeating: nil, count: plan.graph.nodes.count)
  }

  static let endings: Fusion.Endings = [.gated, .joined, .normalized]

  /// Which operands may have rows apart, and which memory a result may take.
  static let rules = LayoutRules(
    readsStrided: { node, index in
      switch node.op {
      case .attention, .activation, .geglu, .affine, .clamp, .cast, .quantizePixels, .concat, .transpose,
        .binary,
        .slice:
        return true
      case .layerNorm, .groupNorm, .moments: return index == 0
      // Pictures, tokens and residuals; weights and biases are dense.
      case .linear(let epilogue): return index == 0 || (epilogue.residual && index == node.inputs.count - 1)
      case .convolution(let convolution):
        return index == 0 || (convolution.epilogue.residual && index == node.inputs.count - 1)
      default: return false
      }
    },
    writesStrided: { node in
      switch node.op {
      case .convolution, .linear, .groupNorm, .layerNorm, .attention, .activation, .geglu, .binary, .affine,
        .clamp, .cast, .quantizePixels, .transpose:
        return true
      default: return false
      }
    },
    overwrites: LayoutRules.inPlace)

  func operand(_ value: Value) throws -> Operand {
    let (layout, type) = (plan.layouts[value.index], plan.graph.type(value))
    guard let base = memory[layout.root.index] else {
      throw CUDAError.call("plan", code: 0, text: "no memory", for: "\(plan.graph[value].op)")
    }
    return Operand(
      address: base + UInt64(layout.offset * type.element.byteCount), type: type, rowStride: layout.rowStride)
  }

  /// The work that makes `value`, or nil where there is nothing to do.
  func lower(_ value: Value) throws -> (any Runnable)? {
    let node = plan.graph[value]
    let result = try operand(value)
    let x = try node.inputs.first.map { try operand($0) } ?? result
    switch node.op {
    case .input, .weight, .constant: return nil
    case .convolution(let settings): return try convolution(value, node, settings, result)
    case .linear(let epilogue): return try linear(node, epilogue, result)
    case .groupNorm(let groups, let epsilon, let activation):
      return try groupNorm(node, groups, epsilon, activation, result)
    case .layerNorm(let epsilon): return try layerNorm(node, epsilon, result)
    case .moments(let epsilon):
      // Layers of eight bits have theirs from the kernel that rounds their rows.
      return isReadInEightBits(value) ? nil : try moments(x, epsilon, result)
    case .attention(let heads, let scale, let causal):
      return try attention(node, heads, scale, causal, result)
    case .activation(let activation): return try map(x, result, activation.code)
    case .geglu: return try geglu(x, result)
    case .binary(let op): return try binary(op, x, try operand(node.inputs[1]), result)
    case .affine(let scale, let offset): return try map(x, result, TC_AFFINE, scale, offset)
    case .quantizePixels(let scale, let offset): return try map(x, result, TC_QUANTIZE, scale, offset)
    case .quantize, .peaks:
      throw EngineError.unsupported("\(node.op)", backend: "the CUDA backend")
    case .clamp(let low, let high): return try map(x, result, TC_CLAMP, low, high)
    case .cast: return try map(x, result, TC_IDENTITY)
    case .reshape: return try copyRows(x, result)
    case .transpose(let order): return try transpose(x, order, result)
    case .slice(let axis, let start, _): return try slice(x, axis, start, result)
    case .concat(let axis): return try concat(node.inputs.map { try operand($0) }, axis, result)
    case .upsampleNearest: return try upsample(x, result)
    case .joinPhases: return try joinPhases(x, result)
    case .gather: return try gather(x, try operand(node.inputs[1]), result)
    case .sinusoid(let dimension, let flip, let shift): return try sinusoid(x, dimension, flip, shift, result)
    }
  }

  /// A launch over so many threads or blocks' worth of work.
  func launch<Parameters>(
    _ name: String, _ module: KernelModule, _ parameters: Parameters, grid: Extent, threads: Int,
    sharedMemory: Int = 0
  ) throws -> Launch<Parameters> {
    let kernel = try library.kernel(name, module, sharedMemory: sharedMemory)
    return try Launch(stream, kernel, parameters, grid: grid, threads: threads, sharedMemory: sharedMemory)
  }

  /// Threads of a block where each thread takes elements.
  static let elementThreads = 256

  /// A grid for `count` elements, of which a thread takes `each` at a time: no more blocks than keep every
  /// multiprocessor busy, for threads go on with what is left.
  func elementGrid(_ count: Int, each: Int = 1) -> Extent {
    let most = context.device.multiprocessors * 16
    return Extent(x: max(1, min(ceiling(count, Self.elementThreads * each), most)))
  }
}

extension Activation {
  var code: Int32 {
    switch self {
    case .silu: return TC_SILU
    case .gelu: return TC_GELU
    case .quickGelu: return TC_QUICK_GELU
    case .relu: return TC_RELU
    case .tanh: return TC_TANH
    case .exp: return TC_EXP
    }
  }
}

extension Binary {
  var code: Int32 {
    switch self {
    case .add: return TC_ADD
    case .subtract: return TC_SUBTRACT
    case .multiply: return TC_MULTIPLY
    case .divide: return TC_DIVIDE
    }
  }
}
