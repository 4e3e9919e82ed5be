import Diffusion
import Engine
import Filter
import Frames

/// The model alone: how long it takes to open, what a frame takes, and each kind of op against its floor.
struct ModelBench {
  private let folder: ModelFolder
  private let options: ModelOptions
  private static let warmUps = 3
  private static let runs = 20

  init(_ folder: ModelFolder, _ options: ModelOptions) { (self.folder, self.options) = (folder, options) }

  func run() throws -> JSON {
    let backend = try Device.backend(options.device)
    let native = PictureSize(width: folder.nativeSize, height: folder.nativeSize)
    let settings = try options.settings(native: native)
    let maker = PipelineMaker(folder, backend, .imageToImage, .mean)
    let start = Clock.now()
    let pipeline = try maker.pipeline(settings.shape) { _, _ in }
    _ = try pipeline.apply(
      PipelineSettings(prompt: settings.prompt, strength: settings.strength, seed: Int(settings.seed)))
    try pipeline.run()
    let opening = Double(Clock.now() - start) / 1e6
    let frame = try timeFrames(pipeline)
    let peak = try Device.peak(of: backend)
    let ops = try pipeline.profile()
    return .object([
      "model": .string(folder.name), "size": .string(settings.size.description),
      "steps": .integer(settings.steps), "open_ms": .number(rounded(opening, 1)),
      "peak_gflops": .number(rounded(peak / 1e9, 0)),
      "frame": stage(frame, ops.filter { $0.cadence == .frame }, peak),
      "settings": stage(nil, ops.filter { $0.cadence == .settings }, peak),
      "kinds": kinds(ops.filter { $0.cadence == .frame }, peak),
      "memory_mb": memory(pipeline.memory),
    ])
  }

  /// The middle of several runs, in seconds.
  private func timeFrames(_ pipeline: Pipeline) throws -> Double {
    let meter = Meter(capacity: Self.runs)
    for _ in 0..<Self.warmUps { try pipeline.run() }
    for _ in 0..<Self.runs {
      let start = Clock.now()
      try pipeline.run()
      meter.record(Clock.now() - start)
    }
    return Double(meter.read().p50) / 1e9
  }

  /// `seconds` nil: the sum of the ops'.
  private func stage(_ seconds: Double?, _ ops: [OpTime], _ peak: Double) -> JSON {
    let work = ops.reduce(0) { $0 + $1.operations }
    let time = seconds ?? ops.reduce(0) { $0 + $1.seconds }
    return .object(JSONObject(cost(time, work, peak)))
  }

  private func cost(_ seconds: Double, _ operations: Double, _ peak: Double) -> [JSONObject.Member] {
    let floor = operations / peak
    return [
      JSONObject.Member(name: "ms", value: .number(rounded(seconds * 1e3, 3))),
      JSONObject.Member(name: "gflop", value: .number(rounded(operations / 1e9, 3))),
      JSONObject.Member(name: "floor_ms", value: .number(rounded(floor * 1e3, 3))),
      JSONObject.Member(name: "ratio", value: floor > 0 ? .number(rounded(seconds / floor, 2)) : .null),
    ]
  }

  /// Ops of one kind together, the slowest kind first.
  private func kinds(_ ops: [OpTime], _ peak: Double) -> JSON {
    let groups = Dictionary(grouping: ops) { $0.label.prefix { $0 != " " } }
    let sums = groups.map { kind, ops in
      (
        kind: String(kind), count: ops.count, seconds: ops.reduce(0) { $0 + $1.seconds },
        operations: ops.reduce(0) { $0 + $1.operations }
      )
    }
    return .array(
      sums.sorted { $0.seconds > $1.seconds }.map {
        let head = [
          JSONObject.Member(name: "op", value: .string($0.kind)),
          JSONObject.Member(name: "count", value: .integer($0.count)),
        ]
        return .object(JSONObject(head + cost($0.seconds, $0.operations, peak)))
      })
  }

  private func memory(_ use: MemoryUse) -> JSON {
    .object([
      "weights": .number(rounded(Double(use.weights) / 1e6, 1)),
      "settings": .number(rounded(Double(use.settings) / 1e6, 1)),
      "arena": .number(rounded(Double(use.arena) / 1e6, 1)),
    ])
  }
}
