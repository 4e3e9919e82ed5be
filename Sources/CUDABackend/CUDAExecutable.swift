import CCUDA
import Engine

/// A graph compiled for a GPU: a frame is one CUDA graph, from the upload of its inputs to the download of the outputs.
final class CUDAExecutable: Executable {
  /// An input or output with its memory on both sides.
  private final class Port {
    let value: Value
    let cadence: Cadence
    let operand: Operand
    let host: PinnedBuffer
    var byteCount: Int { operand.type.byteCount }
    /// Whether the host's bytes have to go up before the next frame.
    var isWritten = true

    init(_ context: GPUContext, _ lowering: Lowering, _ value: Value) throws {
      self.value = value
      cadence = lowering.plan.graph[value].cadence
      operand = try lowering.operand(value)
      host = try PinnedBuffer(context, operand.type.byteCount)
    }
  }
  private struct Step {
    var work: any Runnable
    var value: Value
    /// The settings it depends on.
    var mask: UInt64
  }

  private let plan: Plan
  private let context: GPUContext
  private var inputs: [String: Port] = [:]
  private var outputs: [String: Port] = [:]
  /// Settings inputs, for a loop without look-ups.
  private var settingsPorts: [Port] = []
  private var settings: [Step] = []
  private var frame: [Step] = []
  private var captured: CapturedGraph?
  /// Weights, held values and the arena, kept alive.
  private var buffers: [DeviceBuffer] = []
  private let lowering: Lowering
  private let scratch = Scratch()
  /// Bits of settings inputs that were written since they were last looked at.
  private var dirty = UInt64.max
  let memory: MemoryUse

  init(
    _ plan: Plan, _ context: GPUContext, _ library: KernelLibrary, source: any WeightSource,
    cache: WeightCache<DeviceBuffer>, progress: (CompileProgress) -> Void
  ) throws {
    self.plan = plan
    self.context = context
    lowering = Lowering(plan, context, library, scratch: scratch)
    let load = try LoadProgram(plan, context, library, source: source, cache: cache)
    let held = try Self.place(plan, context, lowering, load, &buffers)
    let steps = plan.settings + plan.frame
    for (done, value) in steps.enumerated() {
      let compiled = library.compiled
      defer {
        if library.compiled > compiled { progress(.kernels(Double(done) / Double(steps.count))) }
      }
      guard let work = try lowering.lower(value) else { continue }
      let step = Step(work: work, value: value, mask: plan.masks[value.index])
      if plan.graph[value].cadence == .frame { frame.append(step) } else { settings.append(step) }
    }
    try scratch.commit(context)
    memory = MemoryUse(weights: load.byteCount, settings: held, arena: plan.arenaSize + scratch.byteCount)
    try makePorts()
    try load.run(progress: progress)
  }

  /// Gives every root its memory; the number of bytes held beside weights and arena.
  private static func place(
    _ plan: Plan, _ context: GPUContext, _ lowering: Lowering, _ load: LoadProgram,
    _ buffers: inout [DeviceBuffer]
  ) throws -> Int {
    let arena = try DeviceBuffer(context, plan.arenaSize)
    buffers.append(arena)
    var held = 0
    let readLoad = plan.loadRoots { _, _ in true }
    for (index, residence) in plan.residences.enumerated() {
      let value = Value(index: index)
      switch residence {
      case .none: continue
      case .arena(let offset): lowering.memory[index] = arena.address + UInt64(offset)
      case .held:
        let buffer = try DeviceBuffer(context, plan.graph.type(value).byteCount)
        held += buffer.byteCount
        buffers.append(buffer)
        lowering.memory[index] = buffer.address
      case .load:
        guard readLoad[index] else { continue }
        let buffer = try load.require(value)
        buffers.append(buffer)
        lowering.memory[index] = buffer.address
      }
    }
    return held
  }

  private func makePorts() throws {
    for (index, node) in plan.graph.nodes.enumerated() {
      guard case .input(let name) = node.op else { continue }
      let port = try Port(context, lowering, Value(index: index))
      inputs[name] = port
      if port.cadence == .settings { settingsPorts.append(port) }
    }
    for output in plan.graph.outputs { outputs[output.name] = try Port(context, lowering, output.value) }
  }

  // MARK: Running

  func write(_ input: String, _ bytes: UnsafeRawBufferPointer) throws {
    try withInput(input) { memory in
      guard memory.count == bytes.count else {
        throw EngineError.byteCount(input, expected: memory.count, found: bytes.count)
      }
      memory.copyMemory(from: bytes)
    }
  }

  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    guard let port = inputs[input] else { throw EngineError.unknownName(input) }
    dirty |= plan.masks[port.value.index]
    port.isWritten = true
    return try withExtendedLifetime(self) {
      try body(UnsafeMutableRawBufferPointer(start: port.host.pointer, count: port.byteCount))
    }
  }

  func run() throws {
    try context.enter()
    try runSettings()
    let captured = try captured ?? capture()
    try captured.run()
    try context.synchronize("a frame")
  }

  /// Replays the frame so many times, back to back; seconds of each by the GPU's own clock.
  func replayTimes(_ count: Int) throws -> [Double] {
    try run()
    let captured = try captured ?? capture()
    let clock = StreamClock(context)
    try clock.mark()
    for _ in 0..<count {
      try captured.run()
      try clock.mark()
    }
    try context.synchronize("frames")
    return try clock.intervals()
  }

  private func runSettings() throws {
    guard dirty != 0 else { return }
    for port in settingsPorts where port.isWritten {
      try context.upload(port.host.pointer, to: port.operand.address, port.byteCount)
      port.isWritten = false
    }
    for step in settings where step.mask & dirty != 0 { try step.work.run() }
    dirty = 0
  }

  private func capture() throws -> CapturedGraph {
    let captured = try CapturedGraph(context) {
      for port in inputs.values where port.cadence == .frame {
        try context.upload(port.host.pointer, to: port.operand.address, port.byteCount)
      }
      for step in frame { try step.work.run() }
      for port in outputs.values {
        try context.download(port.operand.address, to: port.host.pointer, port.byteCount)
      }
    }
    self.captured = captured
    return captured
  }

  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let port = outputs[output] else { throw EngineError.unknownName(output) }
    return try withExtendedLifetime(self) {
      try body(UnsafeRawBufferPointer(start: port.host.pointer, count: port.byteCount))
    }
  }

  func type(of name: String) -> TensorType? { (inputs[name] ?? outputs[name])?.operand.type }

  /// Runs the settings and the frame program once, without the captured graph, with an event after each step.
  func profile() throws -> [OpTime] {
    try context.enter()
    for port in inputs.values {
      try context.upload(port.host.pointer, to: port.operand.address, port.byteCount)
    }
    dirty = 0
    let clock = StreamClock(context)
    let steps = settings + frame
    try clock.mark()
    for step in steps {
      try step.work.run()
      try clock.mark()
    }
    try context.synchronize("a profile")
    return zip(steps, try clock.intervals()).map { step, seconds in
      let node = plan.graph[step.value]
      let types = node.inputs.map { plan.graph.type($0) }
      return OpTime(
        label: "\(plan.graph.describe(step.value)) \(step.work.label)", node: node, inputs: types,
        seconds: seconds, operations: Work.operations(of: node, inputs: types))
    }
  }
}
