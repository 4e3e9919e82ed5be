import CCUDA
import Engine

/// Memory of operands of eight bits.
final class EightBitOperands {
  /// [filters][depth] in e4m3, and the f32 that one of them stands for.
  struct Weight {
    var numbers, scale: tc_CUdeviceptr
  }
  /// [rows][columns] in e4m3, and f32 [rows][2].
  struct Rows {
    var numbers, moments: tc_CUdeviceptr
  }

  private let context: GPUContext
  /// By the address of what they were rounded from.
  private(set) var weights: [tc_CUdeviceptr: Weight] = [:]
  /// Addresses of what nobody reads any more once it is rounded.
  private(set) var replaced: Set<tc_CUdeviceptr> = []
  private var buffers: [DeviceBuffer] = []
  /// Of rows; layers run one after the other, so the largest is enough for all.
  private var largest: (numbers: DeviceBuffer, moments: DeviceBuffer)?
  var byteCount: Int { buffers.reduce(0) { $0 + $1.byteCount } }

  init(_ context: GPUContext) { self.context = context }

  func weight(of original: Operand, replacesIt: Bool) throws -> Weight {
    if replacesIt { replaced.insert(original.address) }
    let numbers = try buffer(original.type.count)
    let made = Weight(numbers: numbers.address, scale: try buffer(4).address)
    weights[original.address] = made
    return made
  }

  func rows(_ rows: Int, columns: Int) throws -> Rows {
    if let largest, largest.numbers.byteCount >= rows * columns, largest.moments.byteCount >= rows * 8 {
      return Rows(numbers: largest.numbers.address, moments: largest.moments.address)
    }
    let made = (numbers: try buffer(rows * columns), moments: try buffer(rows * 8))
    largest = made
    return Rows(numbers: made.numbers.address, moments: made.moments.address)
  }

  private func buffer(_ byteCount: Int) throws -> DeviceBuffer {
    let made = try DeviceBuffer(context, byteCount)
    buffers.append(made)
    return made
  }
}
