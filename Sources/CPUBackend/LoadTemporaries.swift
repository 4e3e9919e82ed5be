import CKernels
import Engine

/// Values of the load program while somebody still reads them.
final class LoadTemporaries: Packer {
  private let plan: Plan
  private var buffers: [Value: Buffer] = [:]
  /// Memory that was dropped, for what comes next: the system need not clear it again.
  private var spare: [Buffer] = []
  static let mostSpare = 4
  private(set) var lowering: Lowering!

  init(_ plan: Plan, _ dnnl: DNNL, threads: Int) {
    self.plan = plan
    lowering = Lowering(plan, dnnl, threads: threads, scratch: Scratch(), packer: self)
  }

  func make(_ value: Value) throws -> UnsafeMutableRawPointer {
    let buffer = try take(plan.graph.type(value).byteCount)
    buffers[value] = buffer
    lowering.memory[value.index] = buffer.pointer
    return buffer.pointer
  }

  /// Which spare memory is large enough, and not far too large.
  static func fitting(_ byteCount: Int, _ spare: [Int]) -> Int? {
    spare.firstIndex { $0 >= byteCount && $0 <= 4 * byteCount }
  }

  /// Spare memory, in which what there is will be overwritten, or new.
  private func take(_ byteCount: Int) throws -> Buffer {
    guard let index = Self.fitting(byteCount, spare.map(\.byteCount)) else { return try Buffer(byteCount) }
    return spare.remove(at: index)
  }

  func drop(_ value: Value) {
    if let buffer = buffers.removeValue(forKey: value) {
      spare.append(buffer)
      if spare.count > Self.mostSpare { spare.removeFirst() }
    }
    lowering.memory[value.index] = nil
  }

  func run(_ value: Value) throws {
    let work = try lowering.lower(value)
    try lowering.scratch.commit()
    try work?.run()
  }

  func stored(_ value: Value) -> ElementType { plan.graph.type(value).element }

  func pack(_ value: Value, _ form: PackedForm) throws -> Buffer {
    let operand = try lowering.operand(value)
    let buffer = try Buffer(form.layout(of: operand.type).byteCount)
    try form.work(lowering, operand, into: buffer).run()
    return buffer
  }
}
