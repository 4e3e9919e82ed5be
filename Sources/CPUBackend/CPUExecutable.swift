import CKernels
import Engine
import Glibc

/// A graph compiled for the processor.
final class CPUExecutable: Executable {
  private let plan: Plan
  private let threads: Int
  private let dnnl: DNNL
  private let inputs: [String: Value]
  private let outputs: [String: Value]
  /// Held values, the arena and packed forms, kept alive.
  private var buffers: [Buffer] = []
  private let lowering: Lowering
  /// The frame program, and forms of settings values that it reads.
  private let programs: Programs
  private let groups: [SettingsGroup]
  /// Bits of settings inputs that were written since they were last looked at.
  private var dirty = UInt64.max
  let memory: MemoryUse

  init(
    _ plan: Plan, _ dnnl: DNNL, threads: Int, source: any WeightSource, cache: WeightCache<Buffer>,
    settingsBytes: Int, progress: (CompileProgress) -> Void
  ) throws {
    self.plan = plan
    self.threads = threads
    self.dnnl = dnnl
    tc_set_threads(Int32(threads))
    var inputs: [String: Value] = [:]
    for (index, node) in plan.graph.nodes.enumerated() {
      if case .input(let name) = node.op { inputs[name] = Value(index: index) }
    }
    self.inputs = inputs
    outputs = Dictionary(plan.graph.outputs.map { ($0.name, $0.value) }) { $1 }
    let load = LoadProgram(plan, dnnl, threads: threads, source: source, cache: cache)
    programs = Programs(plan, load)
    let scratch = Scratch()
    lowering = Lowering(plan, dnnl, threads: threads, scratch: scratch, packer: programs)
    programs.lowering = lowering
    let held = try Self.place(plan, lowering, load, &buffers)
    try programs.build(plan.frame)
    try scratch.commit()
    let memory = lowering.memory
    groups = plan.settingsMasks.map { mask in
      SettingsGroup(
        mask: mask, plan, dnnl, threads: threads,
        LoadProgram(plan, dnnl, threads: threads, source: source, cache: cache), memory: memory)
    }
    try load.run(progress: progress)
    for group in groups { try group.prepare(atMost: settingsBytes, progress: progress) }
    self.memory = MemoryUse(
      weights: groups.reduce(into: load.sizes) { $0.merge($1.residentSizes) { first, _ in first } }.values
        .reduce(0, +),
      settings: held + programs.packedByteCount, arena: plan.arenaSize + scratch.byteCount)
  }

  /// Gives every root its memory; the number of bytes held beside the arena.
  private static func place(
    _ plan: Plan, _ lowering: Lowering, _ load: LoadProgram, _ buffers: inout [Buffer]
  )
    throws -> Int
  {
    let arena = try Buffer(plan.arenaSize)
    buffers.append(arena)
    var held = 0
    let readLoad = plan.loadRoots(of: plan.frame) { !Lowering.readsPacked($0, $1) }
    for (index, residence) in plan.residences.enumerated() {
      let value = Value(index: index)
      switch residence {
      case .none: continue
      case .arena(let offset): lowering.memory[index] = arena.pointer + offset
      case .held:
        let buffer = try Buffer(plan.graph.type(value).byteCount)
        held += buffer.byteCount
        buffers.append(buffer)
        lowering.memory[index] = buffer.pointer
      case .load:
        guard readLoad[index] else { continue }
        let buffer = try load.require(value, nil)
        buffers.append(buffer)
        lowering.memory[index] = buffer.pointer
      }
    }
    return held
  }

  func write(_ input: String, _ bytes: UnsafeRawBufferPointer) throws {
    try withInput(input) { memory in
      guard memory.count == bytes.count else {
        throw EngineError.byteCount(input, expected: memory.count, found: bytes.count)
      }
      memory.copyMemory(from: bytes)
    }
  }

  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    guard let value = inputs[input] else { throw EngineError.unknownName(input) }
    let operand = try lowering.operand(value)
    dirty |= plan.masks[value.index]
    return try withExtendedLifetime(self) {
      try body(UnsafeMutableRawBufferPointer(start: operand.pointer, count: operand.type.byteCount))
    }
  }

  func run() throws {
    tc_set_threads(Int32(threads))
    if dirty != 0 {
      for group in groups where group.mask & dirty != 0 { try group.run() }
      for step in programs.settings where step.mask & dirty != 0 { try step.work.run() }
      dirty = 0
    }
    for step in programs.frame { try step.work.run() }
  }

  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let value = outputs[output] else { throw EngineError.unknownName(output) }
    let operand = try lowering.operand(value)
    return try withExtendedLifetime(self) {
      try body(UnsafeRawBufferPointer(start: operand.pointer, count: operand.type.byteCount))
    }
  }

  func type(of name: String) -> TensorType? { (inputs[name] ?? outputs[name]).map { plan.graph.type($0) } }

  /// Runs the settings and the frame program once, with a clock around each step.
  func profile() throws -> [OpTime] {
    tc_set_threads(Int32(threads))
    dirty = 0
    var times: [OpTime] = []
    for group in groups { try group.run { times.append(try time($0)) } }
    for step in programs.settings + programs.frame { times.append(try time(step)) }
    return times
  }

  private func time(_ step: Step) throws -> OpTime {
    let start = Self.now()
    try step.work.run()
    let seconds = Self.now() - start
    let node = plan.graph[step.value]
    let inputs = node.inputs.map { plan.graph.type($0) }
    return OpTime(
      label: step.label, node: node, inputs: inputs, seconds: seconds,
      operations: step.isPacking ? 0 : Work.operations(of: node, inputs: inputs))
  }

  private static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
