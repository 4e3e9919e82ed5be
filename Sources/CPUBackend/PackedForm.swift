import CDNNL
import CKernels
import Engine

/// A form of a value that a step wants instead of its plain one: another element type, or an order in which
/// its kernel reads it. A `Packer` has it made, by `work`.
enum PackedForm {
  /// Dense, in any element type.
  case dense(ElementType)
  /// Biases, gains.
  static let vector = PackedForm.dense(.f32)
  /// Weights from one layout to another.
  case weights(from: Descriptor, to: Descriptor)
  /// f32 `[36, K/16, C, 16]`: weights `[K, 3, 3, C]` as convolutions in tiles want them (`WinogradWork`).
  case tiles
  /// `[K/16, taps, C, 16]`, C in pairs for products of pairs: weights `[K, ..., C]` for `PanelWork` and
  /// `WinogradWork`.
  case panels(ElementType, inPairs: Bool)

  /// What tells the form of a value from its others, and the bytes it takes.
  func layout(of type: TensorType) -> (identity: [UInt8], byteCount: Int) {
    switch self {
    case .dense(let element):
      return ([0, UInt8(Lowering.code(element).rawValue)], type.count * element.byteCount)
    case .weights(_, let to): return (to.bytes, to.byteCount)
    case .tiles: return ([1], type.count / 9 * 36 * 4)
    case .panels(let element, let inPairs):
      return ([inPairs ? 2 : 3, UInt8(Lowering.code(element).rawValue)], type.count * element.byteCount)
    }
  }

  /// The work that makes it of `operand`, in `buffer`.
  func work(_ lowering: Lowering, _ operand: Operand, into buffer: Buffer) throws -> any Runnable {
    switch self {
    case .dense(let element):
      let result = Operand(
        pointer: buffer.pointer, type: TensorType(operand.type.shape, element), rowStride: operand.columns)
      return lowering.map(operand, result, tc_identity)
    case .tiles:
      return Lowering.tiles(of: UnsafeRawPointer(operand.pointer), operand.type, into: buffer.pointer)
    case .panels(let element, let inPairs):
      return Lowering.panels(operand, element, inPairs: inPairs, into: buffer.pointer)
    case .weights(let from, let to):
      let label = "packing \(operand.type)"
      let primitive = try Primitive.reorder(lowering.dnnl, from: from, to: to, op: label)
      var bound: [(Int32, Memory)] = [
        (DNNL_ARG_SRC_0, try Memory(lowering.dnnl, from, operand.pointer)),
        (DNNL_ARG_DST_0, try Memory(lowering.dnnl, to, buffer.pointer, owner: buffer)),
      ]
      if let scratchpad = primitive.scratchpad, scratchpad.byteCount > 0 {
        let memory = try Buffer(scratchpad.byteCount)
        bound.append(
          (DNNL_ARG_SCRATCHPAD, try Memory(lowering.dnnl, scratchpad, memory.pointer, owner: memory)))
      }
      return PrimitiveWork(lowering.dnnl, primitive, bound)
    }
  }
}
