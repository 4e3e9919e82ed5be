import CKernels
import Engine

/// Where an operand lies.
struct Operand {
  var pointer: UnsafeMutableRawPointer
  var type: TensorType
  /// Elements from one row to the next.
  var rowStride: Int
  var rows: Int { type.rows }
  var columns: Int { type.columns }
  var isDense: Bool { rowStride == columns || rows == 1 }
}

/// Turns nodes into steps with their memory bound.
final class Lowering {
  let plan: Plan
  let dnnl: DNNL
  let threads: Int
  let scratch: Scratch
  /// Memory of each root, by index.
  var memory: [UnsafeMutableRawPointer?]
  unowned let packer: any Packer

  init(_ plan: Plan, _ dnnl: DNNL, threads: Int, scratch: Scratch, packer: any Packer) {
    self.plan = plan
    self.dnnl = dnnl
    self.threads = threads
    self.scratch = scratch
    self.packer = packer
    memory = Array(repeating: nil, count: plan.graph.nodes.count)
  }

  /// Which operands may have rows apart, and which memory a result may take.
  static let rules = LayoutRules(
    readsStrided: { node, index in
      switch node.op {
      case .attention, .activation, .geglu, .affine, .clamp, .cast, .quantizePixels, .concat, .layerNorm,
        .groupNorm, .transpose, .quantize, .peaks:
        return true
      case .binary, .slice: return index == 0
      default: return false
      }
    },
    overwrites: LayoutRules.inPlace)

  /// Whether the node reads operand `index` only in a packed form.
  static func readsPacked(_ node: Node, _ index: Int) -> Bool {
    switch node.op {
    case .convolution(let convolution): return readsPacked(convolution.epilogue, index)
    case .linear(let epilogue): return readsPacked(epilogue, index)
    case .groupNorm, .layerNorm, .geglu, .quantize: return index > 0
    default: return false
    }
  }

  private static func readsPacked(_ epilogue: Epilogue, _ index: Int) -> Bool {
    index == 1 || index == epilogue.scaleIndex || index == epilogue.biasIndex
  }

  func operand(_ value: Value) throws -> Operand {
    let (layout, type) = (plan.layouts[value.index], plan.graph.type(value))
    guard let base = memory[layout.root.index] else {
      throw CPUError.library(call: "plan", status: "no memory", op: "\(plan.graph[value].op)")
    }
    return Operand(
      pointer: base + layout.offset * type.element.byteCount, type: type, rowStride: layout.rowStride)
  }

  /// The work that makes `value`, or nil where there is nothing to do.
  func lower(_ value: Value) throws -> (any Runnable)? {
    let node = plan.graph[value]
    let result = try operand(value)
    switch node.op {
    case .input, .weight, .constant: return nil
    case .convolution(let settings): return try convolution(value, node, settings, result)
    case .linear(let epilogue): return try linear(value, node, epilogue, result)
    case .groupNorm(let groups, let epsilon, let activation):
      return try groupNorm(node, groups, epsilon, activation, result)
    case .layerNorm(let epsilon): return try layerNorm(node, epsilon, result)
    case .moments: throw EngineError.unsupported("moments without a norm", backend: "the CPU backend")
    case .attention(let heads, let scale, let causal):
      return try attention(node, heads, scale, causal, result)
    case .activation(let activation):
      return map(try operand(node.inputs[0]), result, Self.function(activation))
    case .geglu: return geglu(try operand(node.inputs[0]), try factors(node, after: 1), result)
    case .quantize:
      let factors = try packer.pack(node.inputs[1], .vector)
      return quantize(try operand(node.inputs[0]), factors, result)
    case .peaks: return peaks(try operand(node.inputs[0]), result)
    case .binary(let op): return binary(op, try operand(node.inputs[0]), try operand(node.inputs[1]), result)
    case .affine(let scale, let offset):
      return map(try operand(node.inputs[0]), result, tc_affine, scale, offset)
    case .quantizePixels(let scale, let offset):
      return map(try operand(node.inputs[0]), result, tc_quantize, scale, offset)
    case .clamp(let low, let high): return map(try operand(node.inputs[0]), result, tc_clamp, low, high)
    case .cast: return map(try operand(node.inputs[0]), result, tc_identity)
    case .reshape: return copyRows(try operand(node.inputs[0]), result)
    case .transpose(let order): return transpose(try operand(node.inputs[0]), order, result)
    case .slice(let axis, let start, _): return slice(try operand(node.inputs[0]), axis, start, result)
    case .concat(let axis): return try concat(node.inputs.map { try operand($0) }, axis, result)
    case .upsampleNearest: return upsample(try operand(node.inputs[0]), result)
    case .joinPhases: return joinPhases(try operand(node.inputs[0]), result)
    case .gather: return gather(try operand(node.inputs[0]), try operand(node.inputs[1]), result)
    case .sinusoid(let dimension, let flip, let shift):
      return sinusoid(try operand(node.inputs[0]), dimension, flip, shift, result)
    }
  }

  /// What quantizes the result of a node that reads `count` operands otherwise.
  func factors(_ node: Node, after count: Int) throws -> Buffer? {
    guard node.inputs.count > count else { return nil }
    return try packer.pack(node.inputs[count], .vector)
  }

  /// An op with its shapes, for errors and profiles.
  func describe(_ value: Value) -> String { plan.graph.describe(value) }
}
