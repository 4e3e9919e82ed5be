import CCUDA
import Engine

/// A graph compiled for a GPU: a frame is one CUDA graph. Two frames can be under way: inputs of one go up while
/// another is computed.
final class CUDAExecutable: Executable {
  /// An input of settings with its memory on both sides.
  private final class SettingsPort {
    let value: Value
    let operand: Operand
    let host: PinnedBuffer
    /// Whether the host's bytes have to go up before the next frame.
    var isWritten = true

    init(_ context: GPUContext, _ value: Value, _ operand: Operand) throws {
      self.value = value
      self.operand = operand
      host = try PinnedBuffer(context, operand.type.byteCount)
    }
  }
  private struct Step {
    var work: any Runnable
    var value: Value
  }

  private let plan: Plan
  private let context: GPUContext
  private let streams: FrameStreams
  private var settingsInputs: [String: SettingsPort] = [:]
  private var frameInputs: [FramePort] = []
  private var outputs: [FramePort] = []
  private let groups: [SettingsGroup]
  private var frame: [Step] = []
  private var slots: [FrameSlot] = []
  /// Slots of frames that were begun and not finished, oldest first.
  private var underWay: [Int] = []
  /// Where inputs are written, and where the outputs are.
  private var current = 0
  private var finished = 0
  /// Weights, held values and the arena, kept alive.
  private var buffers: [DeviceBuffer] = []
  private let lowering: Lowering
  private let scratch = Scratch()
  /// Bits of settings inputs that were written since they were last looked at.
  private var dirty = UInt64.max
  /// Bytes that should stay free for other programs, and for a second program of this one while sizes change.
  private let reserve: Int
  /// Bytes of what frames read, of held values, and of the arena with scratch memory.
  private var kept: MemoryUse

  private var isReady = false

  /// With the text encoders while they are on the GPU.
  var memory: MemoryUse {
    var use = kept
    use.weights += groups.reduce(0) { $0 + $1.residentByteCount }
    return use
  }

  /// Holds the context's lock of loading step by step: between two of them a program at work may bring back weights that
  /// a new prompt needs.
  init(
    _ plan: Plan, _ context: GPUContext, _ library: KernelLibrary, source: any WeightSource,
    cache: WeightCache<DeviceBuffer>, reserve: Int, progress: (CompileProgress) -> Void
  ) throws {
    self.plan = plan
    self.reserve = reserve
    self.context = context
    streams = try FrameStreams(context)
    let tuner = library.tuning.usesTuner ? ProductTuner(streams.compute, library) : nil
    let lowering = Lowering(plan, streams.compute, library, scratch: scratch, tuner: tuner)
    self.lowering = lowering
    groups = SettingsGroup.all(plan, streams.compute, library, source: source, cache: cache)
    let stream = streams.compute
    var places: [DeviceBuffer] = []
    let (load, held) = try context.loading.withLock {
      let load = try LoadProgram(plan, stream, library, source: source, cache: cache)
      return (load, try Self.place(plan, context, lowering, load, &places))
    }
    buffers = places
    for (done, value) in plan.frame.enumerated() {
      let work = try context.loading.withLock {
        let made = library.compiled + (tuner?.measured ?? 0)
        let work = try lowering.lower(value)
        let isNew = library.compiled + (tuner?.measured ?? 0) > made
        if isNew { progress(.kernels(Double(done) / Double(plan.frame.count))) }
        return work
      }
      if let work { frame.append(Step(work: work, value: value)) }
    }
    context.loading.withLock { tuner?.finish() }
    try scratch.commit(streams.compute)
    // cuBLASLt loads a kernel at its first call, which a capture may not survive. What it computes here is of no use.
    for step in frame where step.work is LibraryProduct { try step.work.run() }
    try streams.compute.synchronize("preparing products")
    kept = MemoryUse(
      weights: load.byteCount + lowering.eightBits.byteCount, settings: held,
      arena: plan.arenaSize + scratch.byteCount)
    try makePorts()
    // What frames read is most of it; the groups' weights come after, one group at a time.
    try context.loading.withLock { try load.run { progress(.weights($0 * 0.8)) } }
    for work in lowering.afterLoad { try work.run() }
    try dropReplacedWeights()
    for group in groups where try context.memoryInfo().free - group.byteCount >= reserve {
      _ = try context.loading.withLock {
        try group.steps(lowering.memory) { progress(.weights(0.8 + 0.2 * $0)) }
      }
    }
    context.programBegins()
    isReady = true
  }

  /// Weights that were rounded to eight bits, whose originals nobody reads.
  private func dropReplacedWeights() throws {
    let replaced = lowering.eightBits.replaced
    guard !replaced.isEmpty else { return }
    try streams.compute.synchronize("rounding weights")
    for buffer in buffers where replaced.contains(buffer.address) { kept.weights -= buffer.byteCount }
    buffers.removeAll { replaced.contains($0.address) }
  }

  deinit {
    // Nothing of what is freed now may still be in use; a lost GPU uses nothing.
    try? context.enter()
    try? streams.compute.synchronize("the last frame")
    try? streams.download.synchronize("the last frame")
    if isReady { context.programEnds() }
  }

  /// Gives every root its memory; the number of bytes held beside weights and arena.
  private static func place(
    _ plan: Plan, _ context: GPUContext, _ lowering: Lowering, _ load: LoadProgram,
    _ buffers: inout [DeviceBuffer]
  ) throws -> Int {
    let arena = try DeviceBuffer(context, plan.arenaSize)
    buffers.append(arena)
    var held = 0
    let readers = SettingsGroup.readers(plan)
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
        guard readers[index] == .all else { continue }
        let buffer = try load.require(value)
        buffers.append(buffer)
        lowering.memory[index] = buffer.address
      }
    }
    return held
  }

  /// Bytes that `place` takes: without them no frame runs.
  static func leastByteCount(_ plan: Plan, _ cache: WeightCache<DeviceBuffer>) -> Int {
    let (readers, numbers) = (SettingsGroup.readers(plan), cache.number(plan.graph))
    // Weights of the same expression have one place.
    var counted: Set<Int> = []
    return plan.residences.indices.reduce(plan.arenaSize) { sum, index in
      switch plan.residences[index] {
      case .held: break
      case .load where readers[index] == .all && counted.insert(numbers[index]).inserted: break
      default: return sum
      }
      return sum + plan.graph.nodes[index].type.byteCount
    }
  }

  private func makePorts() throws {
    for (index, node) in plan.graph.nodes.enumerated() {
      guard case .input(let name) = node.op else { continue }
      let value = Value(index: index)
      let operand = try lowering.operand(value)
      if node.cadence == .frame {
        frameInputs.append(FramePort(name: name, operand: operand))
      } else {
        settingsInputs[name] = try SettingsPort(context, value, operand)
      }
    }
    outputs = try plan.graph.outputs.map { FramePort(name: $0.name, operand: try lowering.operand($0.value)) }
    for _ in 0..<depth {
      slots.append(
        try FrameSlot(streams, inputs: frameInputs, outputs: outputs) {
          for step in frame { try step.work.run() }
        })
    }
  }

  /// Whether kernels of a frame begin before the one before them has ended.
  var overlapsLaunches: Bool { slots.allSatisfy(\.overlapsLaunches) }

  // MARK: Running

  var depth: Int { 2 }

  /// The slot of the frame that is begun next: the same again, with its inputs as they are, unless its frame is under
  /// way.
  private var next: FrameSlot {
    if underWay.contains(current) { current = (current + 1) % depth }
    return slots[current]
  }

  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    try withExtendedLifetime(self) {
      if let memory = next.input(input) { return try body(memory) }
      guard let port = settingsInputs[input] else { throw EngineError.unknownName(input) }
      dirty |= plan.masks[port.value.index]
      port.isWritten = true
      return try body(UnsafeMutableRawBufferPointer(start: port.host.pointer, count: port.host.byteCount))
    }
  }

  func start() throws {
    precondition(underWay.count < depth, "more frames are under way than there are slots")
    try context.enter()
    try runSettings()
    try next.start()
    underWay.append(current)
  }

  func finish() throws {
    precondition(!underWay.isEmpty, "no frame is under way")
    try context.enter()
    // What fails is over too.
    finished = underWay.removeFirst()
    try slots[finished].finish()
  }

  func run() throws {
    try start()
    try finish()
  }

  /// Replays the frame so many times, back to back; seconds of each by the GPU's own clock, copies to and from the host
  /// left out.
  func replayTimes(_ count: Int) throws -> [Double] {
    try run()
    let clock = StreamClock(streams.compute)
    try clock.mark()
    for _ in 0..<count {
      try slots[0].replay()
      try clock.mark()
    }
    try streams.compute.synchronize("frames")
    return try clock.intervals()
  }

  private func runSettings() throws {
    guard dirty != 0 else { return }
    for port in settingsInputs.values where port.isWritten {
      try streams.compute.upload(port.host.pointer, to: port.operand.address, port.host.byteCount)
      port.isWritten = false
    }
    for group in groups where group.mask & dirty != 0 {
      for step in try steps(of: group) { try step.work.run() }
      try leaveIfShort(group)
    }
    // The inputs may be written again as soon as this returns.
    try streams.compute.synchronize("settings")
    dirty = 0
  }

  /// Loads the group's weights where they have left; another program may be loading its own at the time.
  private func steps(of group: SettingsGroup) throws -> [SettingsGroup.Step] {
    if group.isResident { return try group.steps(lowering.memory) }
    return try context.loading.withLock { try group.steps(lowering.memory) }
  }

  private func leaveIfShort(_ group: SettingsGroup) throws {
    if group.residentByteCount > 0, try context.memoryInfo().free < reserve { try group.leave() }
  }

  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let memory = slots[finished].output(output) else { throw EngineError.unknownName(output) }
    return try withExtendedLifetime(self) { try body(UnsafeRawBufferPointer(memory)) }
  }

  func type(of name: String) -> TensorType? {
    settingsInputs[name]?.operand.type ?? (frameInputs + outputs).first { $0.name == name }?.operand.type
  }

  /// Runs the settings once with an event after each step, and the frame program as a graph that has marks of time
  /// between its steps.
  func profile() throws -> [OpTime] {
    try context.enter()
    for port in settingsInputs.values {
      try streams.compute.upload(port.host.pointer, to: port.operand.address, port.host.byteCount)
    }
    for port in frameInputs {
      guard let memory = next.input(port.name)?.baseAddress else { continue }
      try streams.compute.upload(memory, to: port.operand.address, port.byteCount)
    }
    dirty = 0
    let settings = try groups.flatMap { group in
      try self.steps(of: group).map { Step(work: $0.work, value: $0.value) }
    }
    let clock = StreamClock(streams.compute)
    try clock.mark()
    for step in settings {
      try step.work.run()
      try clock.mark()
    }
    try streams.compute.synchronize("a profile")
    let times = try clock.intervals() + StreamClock.times(of: frame.map { $0.work.run }, in: streams.compute)
    return zip(settings + frame, times).map { step, seconds in
      let node = plan.graph[step.value]
      let types = node.inputs.map { plan.graph.type($0) }
      return OpTime(
        label: "\(plan.graph.describe(step.value)) \(step.work.label)", node: node, inputs: types,
        seconds: seconds, operations: Work.operations(of: node, inputs: types))
    }
  }
}
