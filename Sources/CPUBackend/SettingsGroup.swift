import Engine

/// The steps of the settings program that depend on the same settings. For the prompt those are the text
/// encoders: their weights would lie in memory for nothing from one prompt to the next, so where they are
/// large each step reads its own when it runs, and lets go of them.
final class SettingsGroup {
  /// Bits of the settings that the steps depend on.
  let mask: UInt64
  private let values: [Value]
  private let plan: Plan
  private let dnnl: DNNL
  private let threads: Int
  private let load: LoadProgram
  /// Of everything but weights.
  private let memory: [UnsafeMutableRawPointer?]
  private var resident: Prepared?

  /// Steps with what they need.
  private struct Prepared {
    var programs: Programs
    var lowering: Lowering
    var scratch: Scratch
    var steps: [Step] { programs.settings }
  }

  /// Weights of at most so many bytes stay in memory: `load` knows then what it has to fill. Of others it
  /// only finds out whether they are there.
  init(
    mask: UInt64, _ plan: Plan, _ dnnl: DNNL, threads: Int, _ load: LoadProgram,
    memory: [UnsafeMutableRawPointer?], atMost most: Int
  ) throws {
    (self.mask, self.plan, self.dnnl, self.threads) = (mask, plan, dnnl, threads)
    (self.load, self.memory) = (load, memory)
    values = plan.settings(of: mask)
    if weightByteCount <= most {
      resident = try prepare(values, load)
    } else {
      for name in weightNames { try load.check(name.name, name.type) }
    }
  }

  /// What fills the weights that stay, before steps run for the first time; nil where none do.
  var awaited: LoadProgram? { resident == nil ? nil : load }

  /// Bytes of weights that stay in memory, by buffer.
  var residentSizes: [ObjectIdentifier: Int] { awaited?.sizes ?? [:] }

  /// Bytes that resident steps need while they run.
  var scratchByteCount: Int { resident?.scratch.byteCount ?? 0 }

  /// Runs all steps. `body` runs one: for clocks.
  func run(_ body: (Step) throws -> Void = { try $0.run() }) throws {
    if let resident {
      for step in resident.steps { try body(step) }
      return
    }
    // Another program may be compiled meanwhile, by another thread.
    let load = load.apart()
    for value in values {
      let prepared = try prepare([value], load)
      try load.run { _ in }
      // Steps look at its scratch memory, and do not own it.
      try withExtendedLifetime(prepared) { for step in prepared.steps { try body(step) } }
      load.release()
    }
  }

  /// Steps whose weights `load` has yet to fill.
  private func prepare(_ values: [Value], _ load: LoadProgram) throws -> Prepared {
    let (programs, scratch) = (Programs(plan, load), Scratch())
    let lowering = Lowering(plan, dnnl, threads: threads, scratch: scratch, packer: programs)
    programs.lowering = lowering
    lowering.memory = memory
    for (index, isRead) in plan.loadRoots(of: values, { !Lowering.readsPacked($0, $1) }).enumerated()
    where isRead && memory[index] == nil {
      lowering.memory[index] = try load.require(Value(index: index), nil).pointer
    }
    try programs.build(values)
    try scratch.commit()
    return Prepared(programs: programs, lowering: lowering, scratch: scratch)
  }

  /// The checkpoint's tensors that the steps are made of.
  private lazy var weightNames: [(name: String, type: TensorType)] = {
    var isRead = [Bool](repeating: false, count: plan.graph.nodes.count)
    for value in values { isRead[value.index] = true }
    var found: [(String, TensorType)] = []
    for index in isRead.indices.reversed() where isRead[index] {
      let node = plan.graph.nodes[index]
      if case .weight(let name) = node.op { found.append((name, node.type)) }
      for input in node.inputs where plan.graph[input].cadence == .load { isRead[input.index] = true }
    }
    return found
  }()

  private var weightByteCount: Int { weightNames.reduce(0) { $0 + $1.type.byteCount } }
}
