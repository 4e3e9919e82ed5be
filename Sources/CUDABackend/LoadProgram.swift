import CCUDA
import Engine

/// The load program: brings weights to the GPU, computes there what depends on weights alone, and keeps what
/// the other programs read. Values in between live until their last reader has run.
final class LoadProgram {
  private let plan: Plan
  private let stream: GPUStream
  private let source: any WeightSource
  private let cache: WeightCache<DeviceBuffer>
  private let numbers: [Int]
  private let lowering: Lowering
  private let uploader: Uploader
  /// By the index of a root: what is to be filled.
  private var needs: [DeviceBuffer?]
  /// Those in between, by the index of a root.
  private var temporaries: [DeviceBuffer?]
  private(set) var byteCount = 0

  init(
    _ plan: Plan, _ stream: GPUStream, _ library: KernelLibrary, source: any WeightSource,
    cache: WeightCache<DeviceBuffer>
  ) throws {
    self.plan = plan
    self.stream = stream
    self.source = source
    self.cache = cache
    numbers = cache.number(plan.graph)
    lowering = Lowering(plan, stream, library, scratch: Scratch())
    uploader = try Uploader(stream)
    needs = Array(repeating: nil, count: plan.graph.nodes.count)
    temporaries = needs
  }

  private func key(_ root: Value) -> WeightCache<DeviceBuffer>.Key {
    WeightCache.Key(expression: numbers[root.index])
  }

  /// Memory that will hold a load root after `run`.
  func require(_ root: Value) throws -> DeviceBuffer {
    let (buffer, isFilled) = try cache.buffer(key(root)) {
      try DeviceBuffer(stream.context, plan.graph.type(root).byteCount)
    }
    byteCount += buffer.byteCount
    if !isFilled { needs[root.index] = buffer }
    return buffer
  }

  /// Computes what was asked for. `progress` is told the share of the steps.
  func run(progress: (Double) -> Void) throws {
    let schedule = LoadSchedule(plan) { needs[$0.index] != nil }
    do {
      for (done, step) in schedule.steps.enumerated() {
        try compute(step.value)
        // What is dropped may still be read by what was only asked for.
        if !step.drops.isEmpty { try stream.synchronize("loading weights") }
        for root in step.drops { temporaries[root.index] = nil }
        progress(Double(done + 1) / Double(schedule.steps.count))
      }
      try stream.synchronize("loading weights")
    } catch {
      // What was put into the stream reads memory that goes next.
      try? stream.synchronize("loading weights")
      cache.forget(needs.indices.filter { needs[$0] != nil }.map { key(Value(index: $0)) })
      throw error
    }
    needs = Array(repeating: nil, count: needs.count)
    temporaries = needs
  }

  private func compute(_ value: Value) throws {
    let node = plan.graph[value]
    let buffer = try needs[value.index] ?? DeviceBuffer(stream.context, node.type.byteCount)
    temporaries[value.index] = buffer
    lowering.memory[value.index] = buffer.address
    switch node.op {
    case .weight(let name): try read(name, node.type, to: buffer)
    case .constant(let numbers): try numbers.withUnsafeBytes { try uploader.upload($0, to: buffer.address) }
    default:
      let work = try lowering.lower(value)
      try lowering.scratch.commit(stream)
      try work?.run()
    }
  }

  /// A tensor of the checkpoint, converted on the GPU where the graph wants another element type.
  private func read(_ name: String, _ type: TensorType, to buffer: DeviceBuffer) throws {
    guard let found = source.type(of: name) else { throw EngineError.missingWeight(name) }
    guard found.shape == type.shape else {
      throw EngineError.weightShape(name, expected: type.shape, found: found.shape)
    }
    let raw = try found.element == type.element ? buffer : DeviceBuffer(stream.context, found.byteCount)
    var filled = 0
    try source.withPieces(of: name) { place, bytes in
      guard place == filled, bytes.count <= found.byteCount - filled else {
        throw EngineError.byteCount(name, expected: found.byteCount, found: place + bytes.count)
      }
      try uploader.upload(bytes, to: raw.address + UInt64(filled))
      filled += bytes.count
    }
    guard filled == found.byteCount else {
      throw EngineError.byteCount(name, expected: found.byteCount, found: filled)
    }
    guard found.element != type.element else { return }
    let from = Operand(address: raw.address, type: found, rowStride: found.columns)
    let to = Operand(address: buffer.address, type: type, rowStride: type.columns)
    // Until the stream has come by, `raw` must not go.
    try withExtendedLifetime(raw) {
      try lowering.map(from, to, TC_IDENTITY).run()
      try stream.synchronize(name)
    }
  }
}
