import CCUDA
import Engine

/// The steps of the settings program that depend on the same settings, with the weights that only they read:
/// for the prompt those are the text encoders, more than a gigabyte, of which no frame needs anything. Where
/// memory is short they leave the GPU after their work and come back with the next prompt.
final class SettingsGroup {
  struct Step {
    var work: any Runnable
    var value: Value
  }
  /// Bits of the settings that the steps depend on.
  let mask: UInt64
  private let values: [Value]
  /// Load roots that nobody else reads.
  private let weights: [Value]
  private let plan: Plan
  private let stream: GPUStream
  private let library: KernelLibrary
  private let source: any WeightSource
  private let cache: WeightCache<DeviceBuffer>
  private var resident: Resident?

  /// What is on the GPU while the group is.
  private struct Resident {
    var steps: [Step]
    var weights: [DeviceBuffer]
    var scratch: Scratch
  }

  init(
    mask: UInt64, values: [Value], weights: [Value], _ plan: Plan, _ stream: GPUStream,
    _ library: KernelLibrary, source: any WeightSource, cache: WeightCache<DeviceBuffer>
  ) {
    (self.mask, self.values, self.weights) = (mask, values, weights)
    (self.plan, self.stream, self.library) = (plan, stream, library)
    (self.source, self.cache) = (source, cache)
  }

  /// Bytes of weights, on the GPU or not.
  var byteCount: Int { weights.reduce(0) { $0 + plan.graph.type($1).byteCount } }

  /// Bytes of weights on the GPU.
  var residentByteCount: Int { resident?.weights.reduce(0) { $0 + $1.byteCount } ?? 0 }

  var isResident: Bool { resident != nil }

  /// Brings the weights to the GPU where they are not, and gives the steps. `memory`: the addresses of
  /// everything else.
  func steps(_ memory: [tc_CUdeviceptr?], progress: (Double) -> Void = { _ in }) throws -> [Step] {
    if let resident { return resident.steps }
    let load = try LoadProgram(plan, stream, library, source: source, cache: cache)
    let scratch = Scratch()
    let lowering = Lowering(plan, stream, library, scratch: scratch)
    lowering.memory = memory
    var buffers: [DeviceBuffer] = []
    for root in weights {
      let buffer = try load.require(root)
      buffers.append(buffer)
      lowering.memory[root.index] = buffer.address
    }
    let steps = try values.compactMap { value in
      try lowering.lower(value).map { Step(work: $0, value: value) }
    }
    try scratch.commit(stream)
    try load.run(progress: progress)
    resident = Resident(steps: steps, weights: buffers, scratch: scratch)
    return steps
  }

  /// Gives the weights' memory back. What they computed stays.
  func leave() throws {
    guard resident != nil else { return }
    try stream.synchronize("settings")
    resident = nil
  }

  /// The plan's settings steps in groups. A group depends only on groups of fewer settings, which come first.
  static func all(
    _ plan: Plan, _ stream: GPUStream, _ library: KernelLibrary, source: any WeightSource,
    cache: WeightCache<DeviceBuffer>
  ) -> [SettingsGroup] {
    let owners = readers(plan)
    return plan.settingsMasks.map { mask in
      SettingsGroup(
        mask: mask, values: plan.settings(of: mask),
        weights: owners.indices.filter { owners[$0] == .settings(mask) }.map { Value(index: $0) }, plan,
        stream,
        library, source: source, cache: cache)
    }
  }

  /// Who reads a load root.
  enum Reader: Equatable {
    case nobody
    /// Steps of one group alone.
    case settings(UInt64)
    /// Frames, the caller, or several groups.
    case all
  }

  /// By index of a load root.
  static func readers(_ plan: Plan) -> [Reader] {
    var readers = [Reader](repeating: .nobody, count: plan.graph.nodes.count)
    func add(_ value: Value, _ reader: Reader) {
      guard plan.graph[value].cadence == .load else { return }
      let root = plan.layouts[value.index].root.index
      readers[root] = readers[root] == .nobody || readers[root] == reader ? reader : .all
    }
    for value in plan.settings {
      for input in plan.graph[value].inputs { add(input, .settings(plan.masks[value.index])) }
    }
    for value in plan.frame {
      for input in plan.graph[value].inputs { add(input, .all) }
    }
    for output in plan.graph.outputs { add(output.value, .all) }
    return readers
  }
}
