import CDNNL
import CKernels
import Engine

/// A product that a kernel of our own computes, with weights in panels of 16 columns (Panels.h).
enum PanelProduct {
  /// bf16 by bf16. oneDNN waits for weights that come from memory in every frame, which is all of them in a
  /// large model; and a gate meets its value before either is stored.
  case bfloat16
  /// f32 by weights that lie in the file in 16 bits and stay so: for processors without products of bf16,
  /// where a model would take twice its file.
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
