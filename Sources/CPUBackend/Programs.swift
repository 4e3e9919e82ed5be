import Engine

/// The settings and the frame program as lists of prepared steps, with the packed forms that they read.
final class Programs: Packer {
  private let plan: Plan
  private let load: LoadProgram
  unowned var lowering: Lowering!
  private(set) var settings: [Step] = []
  private(set) var frame: [Step] = []
  private(set) var packedByteCount = 0
  private var packed: [Key: Buffer] = [:]

  /// A value in one of its packed forms.
  private struct Key: Hashable {
    var value: Value
    var layout: [UInt8]
  }

  init(_ plan: Plan, _ load: LoadProgram) {
    self.plan = plan
    self.load = load
  }

  func build(_ values: [Value]) throws {
    for value in values { try append(value) }
  }

  private func append(_ value: Value) throws {
    guard let work = try lowering.lower(value) else { return }
    add(
      Step(
        work: work, value: value, mask: plan.masks[value.index],
        label: "\(lowering.describe(value)) \(work.implementation)"))
  }

  private func add(_ step: Step) {
    if plan.graph[step.value].cadence == .frame { frame.append(step) } else { settings.append(step) }
  }

  func stored(_ value: Value) -> ElementType {
    plan.graph[value].cadence == .load ? load.stored(value) : plan.graph.type(value).element
  }

  /// Load values are packed by the load program; others by a step of their own, which runs when they change.
  func pack(_ value: Value, _ form: PackedForm) throws -> Buffer {
    if plan.graph[value].cadence == .load { return try load.require(value, form) }
    let (layout, byteCount) = form.layout(of: plan.graph.type(value))
    let key = Key(value: value, layout: layout)
    if let buffer = packed[key] { return buffer }
    let buffer = try Buffer(byteCount)
    packed[key] = buffer
    packedByteCount += buffer.byteCount
    let work = try form.work(lowering, try lowering.operand(value), into: buffer)
    let label = "pack \(plan.graph.type(value))"
    add(Step(work: work, value: value, mask: plan.masks[value.index], label: label, isPacking: true))
    return buffer
  }
}
