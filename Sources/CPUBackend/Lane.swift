import Engine

/// The frame program with memory of its own for what lives as long as a frame. As many frames can be under
/// way as there are lanes; what depends on settings alone, and weights, are there once.
final class Lane {
  let threads: Int
  let lowering: Lowering
  /// The frame program, and forms of settings values that it reads.
  let programs: Programs
  /// Bytes for one frame.
  let byteCount: Int
  /// Arena, inputs of frames and weights, kept alive.
  private var buffers: [Buffer] = []
  private var worker: LaneWorker?

  /// `held` has the memory of values that outlive a frame, by index; they are made where there are none yet.
  init(_ plan: Plan, threads: Int, _ load: LoadProgram, held: inout [Buffer?]) throws {
    self.threads = threads
    try setThreads(threads)
    programs = Programs(plan, load)
    let scratch = Scratch()
    lowering = Lowering(plan, try DNNL(), threads: threads, scratch: scratch, packer: programs)
    programs.lowering = lowering
    let arena = try Buffer(plan.arenaSize)
    buffers.append(arena)
    var inputs = 0
    let readLoad = plan.loadRoots(of: plan.frame) { !Lowering.readsPacked($0, $1) }
    for (index, residence) in plan.residences.enumerated() {
      let value = Value(index: index)
      switch residence {
      case .none: continue
      case .arena(let offset): lowering.memory[index] = arena.pointer + offset
      case .held:
        let buffer = try held[index] ?? Buffer(plan.graph.type(value).byteCount)
        buffers.append(buffer)
        lowering.memory[index] = buffer.pointer
        if plan.graph[value].cadence == .frame { inputs += buffer.byteCount } else { held[index] = buffer }
      case .load:
        guard readLoad[index] else { continue }
        let buffer = try load.require(value, nil)
        buffers.append(buffer)
        lowering.memory[index] = buffer.pointer
      }
    }
    try programs.build(plan.frame)
    try scratch.commit()
    byteCount = plan.arenaSize + inputs + scratch.byteCount
  }

  func run() throws { try Self.run(programs, threads) }

  private static func run(_ programs: Programs, _ threads: Int) throws {
    try setThreads(threads)
    for step in programs.frame { try step.run() }
  }

  /// Runs on a thread of its own; `wait` follows each.
  func start() throws {
    let worker = try self.worker ?? LaneWorker { [programs, threads] in try Self.run(programs, threads) }
    self.worker = worker
    worker.start()
  }

  func wait() throws { try worker?.wait() }

  // The thread may still be at work in the memory that goes next.
  deinit { worker = nil }
}
