import Base
import Engine
import Glibc

/// A graph compiled for the processor.
///
/// `run` has all threads work on one frame. Where a frame's ops are so short that sharing them out costs more
/// than a little, frames are also begun before the last is finished, each on a share of the threads: more of
/// them in a second, each of them older.
final class CPUExecutable: Executable {
  private let plan: Plan
  private let inputs: [String: Value]
  private let outputs: [String: Value]
  /// All threads on one frame. Inputs are written to its memory.
  private let whole: Lane
  /// A share of the threads each: empty where that does not pay.
  private var shares: [Lane] = []
  /// For each share.
  private var copies: [[InputCopy]] = []
  /// How the last frame of each share ended.
  private var results: [Result<Void, any Error>] = []
  /// Frames that were begun on shares, which take turns; of them those that are known to be done, and those
  /// finished.
  private var begunCount = 0
  private var doneCount = 0
  private var finishedCount = 0
  /// The lane with the frame that was finished last.
  private var shown: Lane
  private let groups: [SettingsGroup]
  /// Bits of settings inputs that were written since they were last looked at.
  private var dirty = UInt64.max
  let memory: MemoryUse

  /// An input of a frame that goes from where it is written to where a share reads it.
  private struct InputCopy {
    var to: UnsafeMutableRawPointer
    var from: UnsafeRawPointer
    var byteCount: Int
  }

  /// Shares of the threads that frames are begun on.
  private static let shareCount = 2
  /// Operations of a product on one thread, in the mean, below which shares pay (about a millisecond's work).
  private static let shortProduct = 1e8
  /// Frames overlap only where one comes after less than this share of what a frame takes alone: else they
  /// would be twice as old for little.
  private static let worthwhile = 0.85
  /// Of a few comparisons, so many decide: something else may be at work during some.
  private static let majority = 3
  /// Weights of this many bytes stay in caches no better for two frames than for one.
  private static let smallWeights = 256 << 20

  init(
    _ plan: Plan, _ dnnl: DNNL, threads: Int, overlap: CPUBackend.Overlap, source: any WeightSource,
    cache: WeightCache<Buffer>, settingsBytes: Int, freeBytes: Int, progress: (CompileProgress) -> Void
  ) throws {
    self.plan = plan
    inputs = Self.inputs(of: plan.graph)
    outputs = Dictionary(plan.graph.outputs.map { ($0.name, $0.value) }) { $1 }
    let load = LoadProgram(plan, dnnl, threads: threads, source: source, cache: cache)
    var held = [Buffer?](repeating: nil, count: plan.graph.nodes.count)
    whole = try Lane(plan, threads: threads, load, held: &held)
    shown = whole
    if overlap != .never { shares = try Self.shares(plan, threads: threads, load, held: &held) }
    try setThreads(threads)
    let places = whole.lowering.memory
    groups = try plan.settingsMasks.map { mask in
      try SettingsGroup(
        mask: mask, plan, dnnl, threads: threads,
        LoadProgram(plan, dnnl, threads: threads, source: source, cache: cache), memory: places,
        atMost: settingsBytes)
    }
    let heldBytes = held.reduce(0) { $0 + ($1?.byteCount ?? 0) }
    let loads = [load] + groups.compactMap(\.awaited)
    try Self.demand(
      Self.byteCount(loads, groups, [whole] + shares) + heldBytes, of: freeBytes)
    for load in loads { try load.run(progress: progress) }
    if !shares.isEmpty, overlap == .measured, try !Self.pays(shares, whole) { shares = [] }
    results = Array(repeating: .success(()), count: shares.count)
    copies = try shares.map { [inputs, whole] in try Self.copies(of: inputs, plan, from: whole, to: $0) }
    memory = Self.memoryUse(load, groups, [whole] + shares, heldBytes: heldBytes)
  }

  // MARK: Making one

  private static func inputs(of graph: Graph) -> [String: Value] {
    var inputs: [String: Value] = [:]
    for (index, node) in graph.nodes.enumerated() {
      if case .input(let name) = node.op { inputs[name] = Value(index: index) }
    }
    return inputs
  }

  /// Lanes on shares of the threads where they may pay; none where they cannot.
  private static func shares(
    _ plan: Plan, threads: Int, _ load: LoadProgram, held: inout [Buffer?]
  ) throws -> [Lane] {
    guard load.sizes.values.reduce(0, +) < smallWeights, hasShortProducts(plan, threads: threads) else {
      return []
    }
    return try (0..<shareCount).map { _ in
      try Lane(plan, threads: threads / shareCount, load, held: &held)
    }
  }

  /// Bytes that are taken at the most while weights are loaded, and then, beside values that outlive a frame.
  /// Programs are filled one after the other.
  private static func byteCount(_ loads: [LoadProgram], _ groups: [SettingsGroup], _ lanes: [Lane]) -> Int {
    loads.reduce(0) { $0 + $1.awaitedByteCount } + (loads.map(\.temporaryByteCount).max() ?? 0)
      + groups.reduce(0) { $0 + $1.scratchByteCount } + lanes.reduce(0) { $0 + $1.byteCount }
  }

  /// Where a lane has its inputs of frames, and where they are written.
  private static func copies(
    of inputs: [String: Value], _ plan: Plan, from whole: Lane, to lane: Lane
  ) throws -> [InputCopy] {
    try inputs.values.filter { plan.graph[$0].cadence == .frame }.map { value in
      let (to, from) = (try lane.lowering.operand(value), try whole.lowering.operand(value))
      return InputCopy(
        to: to.pointer, from: UnsafeRawPointer(from.pointer), byteCount: from.type.byteCount)
    }
  }

  private static func memoryUse(
    _ load: LoadProgram, _ groups: [SettingsGroup], _ lanes: [Lane], heldBytes: Int
  ) -> MemoryUse {
    let weights = groups.reduce(into: load.sizes) { $0.merge($1.residentSizes) { first, _ in first } }
    return MemoryUse(
      weights: weights.values.reduce(0, +),
      settings: heldBytes + lanes.reduce(0) { $0 + $1.programs.packedByteCount },
      arena: lanes.reduce(0) { $0 + $1.byteCount })
  }

  /// Memory is taken when it is first written to, and by then the system has no answer but to kill.
  private static func demand(_ byteCount: Int, of free: Int) throws {
    guard byteCount <= free else { throw CPUError.room(asked: byteCount, free: free) }
  }

  /// Whether frames on shares of the threads come fast enough, by the clock: most times in turns with a frame
  /// alone, after a turn that does not count. Where the system has no threads for shares, they do not.
  private static func pays(_ shares: [Lane], _ whole: Lane) throws -> Bool {
    func seconds(_ body: () throws -> Void) rethrows -> Double {
      let start = now()
      try body()
      return now() - start
    }
    func isFaster() throws -> Bool {
      let alone = try seconds { try whole.run() }
      let together = try seconds {
        for lane in shares { try lane.start() }
        for lane in shares { try lane.wait() }
      }
      return together / Double(shares.count) < worthwhile * alone
    }
    do {
      _ = try isFaster()
      var (faster, slower) = (0, 0)
      while max(faster, slower) < majority {
        if try isFaster() { faster += 1 } else { slower += 1 }
      }
      return faster > slower
    } catch CPUError.threads(_, _) {
      return false
    }
  }

  /// Whether sharing a product out over threads costs more than a little, in the mean.
  private static func hasShortProducts(_ plan: Plan, threads: Int) -> Bool {
    guard threads >= shareCount else { return false }
    let products = plan.frame.map { plan.graph[$0] }.filter { $0.cadence == .frame }.map { node in
      Work.operations(of: node, inputs: node.inputs.map { plan.graph.type($0) })
    }.filter { $0 > 0 }
    return products.reduce(0, +) <= shortProduct * Double(products.count * threads)
  }

  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    guard let value = inputs[input] else { throw EngineError.unknownName(input) }
    let operand = try whole.lowering.operand(value)
    let mask = plan.masks[value.index]
    // Frames under way still read what depends on settings.
    if mask != 0 { awaitAll() }
    dirty |= mask
    return try withExtendedLifetime(self) {
      try body(UnsafeMutableRawBufferPointer(start: operand.pointer, count: operand.type.byteCount))
    }
  }

  func run() throws {
    try followSettings()
    try whole.run()
    shown = whole
  }

  /// Runs what depends on settings that were written.
  private func followSettings() throws {
    guard dirty != 0 else { return }
    awaitAll()
    try setThreads(whole.threads)
    for group in groups where group.mask & dirty != 0 { try group.run() }
    try packWhatChanged(whole)
    for lane in shares { try packWhatChanged(lane) }
    dirty = 0
  }

  private func packWhatChanged(_ lane: Lane) throws {
    try packSettings(lane) { step in if step.mask & dirty != 0 { try step.run() } }
  }

  /// Makes the forms of settings values that the lane reads, on the threads that its steps are made for.
  private func packSettings(_ lane: Lane, _ body: (Step) throws -> Void) throws {
    try setThreads(lane.threads)
    for step in lane.programs.settings { try body(step) }
  }

  // MARK: Frames under way

  var depth: Int { max(1, shares.count) }

  func start() throws {
    guard !shares.isEmpty else { return }
    precondition(begunCount - finishedCount < shares.count, "more frames are under way than there are lanes")
    try followSettings()
    let share = begunCount % shares.count
    for copy in copies[share] { copy.to.copyMemory(from: copy.from, byteCount: copy.byteCount) }
    try shares[share].start()
    begunCount += 1
  }

  func finish() throws {
    guard finishedCount < begunCount else { return try run() }
    if doneCount == finishedCount { awaitNext() }
    let share = finishedCount % shares.count
    shown = shares[share]
    finishedCount += 1
    try results[share].get()
  }

  private func awaitNext() {
    let share = doneCount % shares.count
    doneCount += 1
    results[share] = Result { try shares[share].wait() }
  }

  /// Until nothing reads or writes memory. Frames that are done stay to be finished: then they tell what went
  /// wrong.
  private func awaitAll() { while doneCount < begunCount { awaitNext() } }

  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let value = outputs[output] else { throw EngineError.unknownName(output) }
    let operand = try shown.lowering.operand(value)
    return try withExtendedLifetime(self) {
      try body(UnsafeRawBufferPointer(start: operand.pointer, count: operand.type.byteCount))
    }
  }

  func type(of name: String) -> TensorType? { (inputs[name] ?? outputs[name]).map { plan.graph.type($0) } }

  // MARK: Profiling

  /// Runs the settings and the frame program once, with a clock around each step.
  func profile() throws -> [OpTime] {
    awaitAll()
    try setThreads(whole.threads)
    var times: [OpTime] = []
    for group in groups { try group.run { times.append(try time($0)) } }
    try packSettings(whole) { times.append(try time($0)) }
    for step in whole.programs.frame { times.append(try time(step)) }
    // Shares are to find what was written too.
    for lane in shares { try packSettings(lane) { try $0.run() } }
    dirty = 0
    return times
  }

  private func time(_ step: Step) throws -> OpTime {
    let start = Self.now()
    try step.run()
    let seconds = Self.now() - start
    let node = plan.graph[step.value]
    let inputs = node.inputs.map { plan.graph.type($0) }
    if let tiled = step.work as? WinogradWork {
      return OpTime(
        label: step.label, node: node, inputs: inputs, seconds: seconds, operations: tiled.operations,
        element: .f32)
    }
    return OpTime(
      label: step.label, node: node, inputs: inputs, seconds: seconds,
      operations: step.isPacking ? 0 : Work.operations(of: node, inputs: inputs))
  }

  private static func now() -> Double { timespec(of: CLOCK_MONOTONIC).seconds }
}
