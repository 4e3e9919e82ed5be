import CPUBackend
import CUDABackend
import Diffusion
import Engine
import Filter
import Frames

/// The model alone: how long it takes to open, what a frame takes, and each of its stages and kinds of op against
/// its floor.
struct ModelBench {
  private let folder: ModelFolder
  private let options: ModelOptions
  private let machine: Machine
  /// Whether every op is told, and not only each kind.
  private let tellsOps: Bool

  /// Frames are measured until there are enough of them, or until the time is over and there are a few.
  private static let mostRuns = 20
  private static let fewestRuns = 3
  private static let seconds = 10.0
  /// For runs before that, the first of which comes with opening, and for runs with a clock around each op.
  private static let warmUpSeconds = 1.0
  private static let profileSeconds = 5.0

  init(_ folder: ModelFolder, _ options: ModelOptions, _ machine: Machine, tellsOps: Bool) {
    (self.folder, self.options, self.machine, self.tellsOps) = (folder, options, machine, tellsOps)
  }

  func run() throws -> JSON {
    let settings = try options.settings(native: folder.nativePicture)
    let maker = PipelineMaker.live(folder, machine.backend)
    let start = Clock.now()
    let pipeline = try maker.pipeline(settings.shape) { _, _ in }
    _ = try pipeline.apply(settings.pipeline())
    let first = try Self.time { try pipeline.run() }
    let opening = Double(Clock.now() - start) / 1e9
    let measured = try measure(pipeline, first)
    let peakMemory = Process.peakBytes
    let hasLoss = options.products.linears != .f16 && !(machine.backend is CPUBackend)
    let loss = try hasLoss ? [loss(of: pipeline, settings)] : []
    let frame = measured.ops.filter { $0.cadence == .frame }
    let whole = JSON.object([
      "model": .string(folder.name), "size": .string(settings.size.description),
      "steps": .integer(settings.steps), "open_ms": .number(rounded(opening * 1e3, 1)),
      "frame": try frameJSON(measured, frame),
      "stages": try table("stage", frame) { $0.stage },
      "settings_stages": try table("stage", measured.ops.filter { $0.cadence == .settings }) { $0.stage },
      "kinds": try table("op", frame, slowestFirst: true) { String($0.label.prefix { $0 != " " }) },
      "memory_mb": memory(pipeline.memory, peakMemory),
    ])
    let ops =
      try tellsOps
      ? [
        JSONObject.Member(
          name: "ops", value: table("op", frame, slowestFirst: true) { $0.label })
      ] : []
    return .object(JSONObject((whole.object?.members ?? []) + loss + ops))
  }

  // MARK: Loss

  /// What linear layers of eight bits change of a picture, beside those of sixteen.
  private func loss(of pipeline: Pipeline, _ settings: Settings) throws -> JSONObject.Member {
    let exact = ProductFormat(sums: options.products.sums)
    let other = try PipelineMaker.live(folder, options.device.choose(products: exact).backend)
      .pipeline(settings.shape) { _, _ in }
    let (found, expected) = (try paint(pipeline, settings), try paint(other, settings))
    let (width, height) = (settings.size.width, settings.size.height)
    return JSONObject.Member(
      name: "loss",
      value: .object([
        "psnr_db": .number(rounded(min(Likeness.psnr(found, expected), 99), 1)),
        "ssim": .number(rounded(Likeness.ssim(found, expected, width: width, height: height), 3)),
      ]))
  }

  /// Of a drawing with soft and hard edges.
  private func paint(_ pipeline: Pipeline, _ settings: Settings) throws -> [UInt8] {
    let width = settings.size.width
    _ = try pipeline.apply(settings.pipeline())
    try pipeline.withImage { bytes in
      for index in bytes.indices {
        let (x, y) = (index / 3 % width, index / 3 / width)
        let isDark = (x / 24 + y / 24) % 2 == 0
        bytes[index] = UInt8(
          truncatingIfNeeded: (x + y * (1 + index % 3)) * 255 / (4 * width) + (isDark ? 0 : 64))
      }
    }
    try pipeline.run()
    return try pipeline.withPicture { Array($0) }
  }

  // MARK: Measuring

  private struct Measured {
    /// Of whole frames, in seconds.
    var frames: [Double] = []
    /// Of one run, by op.
    var ops: [OpTime] = []
  }

  /// Whole frames and frames op by op in turns, so that what disturbs the machine disturbs both.
  private func measure(_ pipeline: Pipeline, _ first: Double) throws -> Measured {
    var warm = first
    for _ in 0..<Self.fewestRuns where warm < Self.warmUpSeconds {
      warm += try Self.time { try pipeline.run() }
    }
    var frames: [Double] = []
    var profiles: [[OpTime]] = []
    var (spent, profiling) = (0.0, 0.0)
    while frames.count < Self.mostRuns, frames.count < Self.fewestRuns || spent < Self.seconds {
      frames.append(try Self.time { try pipeline.run() })
      spent += frames[frames.count - 1]
      guard profiles.count < Self.fewestRuns || profiling < Self.profileSeconds else { continue }
      profiling += try Self.time { profiles.append(try pipeline.profile()) }
    }
    // The ops of one run add up to what a run takes; the middle of each op alone would not.
    let ordered = profiles.sorted { Self.frameSeconds($0) < Self.frameSeconds($1) }
    return Measured(frames: frames.sorted(), ops: ordered[ordered.count / 2])
  }

  private static func frameSeconds(_ ops: [OpTime]) -> Double {
    ops.reduce(0) { $0 + ($1.cadence == .frame ? $1.seconds : 0) }
  }

  private static func time(_ body: () throws -> Void) rethrows -> Double {
    let start = Clock.now()
    try body()
    return Double(Clock.now() - start) / 1e9
  }

  // MARK: Telling

  /// The middle of the runs, and beside it what the ops of the profiled run add up to.
  private func frameJSON(_ measured: Measured, _ ops: [OpTime]) throws -> JSON {
    let middle = measured.frames[measured.frames.count / 2]
    let cost = try cost(ops, seconds: middle)
    let rest = [
      JSONObject.Member(name: "stages_ms", value: .number(significant(Self.frameSeconds(ops) * 1e3))),
      JSONObject.Member(name: "runs", value: .integer(measured.frames.count)),
    ]
    return .object(JSONObject(cost.members + rest))
  }

  /// `seconds` nil: the sum of the ops'.
  private func cost(_ ops: [OpTime], seconds: Double? = nil) throws -> Cost {
    Cost(
      seconds: seconds ?? ops.reduce(0) { $0 + $1.seconds },
      operations: ops.reduce(0) { $0 + $1.operations }, floor: try machine.floor(of: ops))
  }

  /// A row for each name that `name` gives an op, in the order in which they run unless told otherwise.
  private func table(
    _ title: String, _ ops: [OpTime], slowestFirst: Bool = false, _ name: (OpTime) -> String
  ) throws -> JSON {
    var names: [String] = []
    var groups: [String: [OpTime]] = [:]
    for op in ops {
      let name = name(op)
      if groups[name] == nil { names.append(name) }
      groups[name, default: []].append(op)
    }
    var rows = try names.map { (name: $0, count: groups[$0]?.count ?? 0, cost: try cost(groups[$0] ?? [])) }
    if slowestFirst { rows.sort { $0.cost.seconds > $1.cost.seconds } }
    return .array(
      rows.map {
        let head = [
          JSONObject.Member(name: title, value: .string($0.name)),
          JSONObject.Member(name: "ops", value: .integer($0.count)),
        ]
        return .object(JSONObject(head + $0.cost.members))
      })
  }

  private func memory(_ use: MemoryUse, _ peak: Int) -> JSON {
    .object([
      "weights": .number(rounded(Double(use.weights) / 1e6, 1)),
      "settings": .number(rounded(Double(use.settings) / 1e6, 1)),
      "arena": .number(rounded(Double(use.arena) / 1e6, 1)),
      "peak_of_process": .number(rounded(Double(peak) / 1e6, 1)),
    ])
  }
}
