import Diffusion
import Engine
import Filter
import Frames
import Glibc
import Outputs
import Synchronization

/// The whole loop: a camera that gives JPEGs, through a stage, to a web stream that is watched.
struct LiveBench {
  private let machine: Machine
  private let seconds: Int
  init(_ machine: Machine, seconds: Int) { (self.machine, self.seconds) = (machine, seconds) }

  /// A 640x480 camera at 60 frames a second, so that the model is what limits.
  func repainting(_ folder: ModelFolder, _ model: ModelOptions) throws -> JSON {
    let settings = try model.settings(native: folder.nativePicture, still: 0)
    let box = SettingsBox(settings)
    let maker = PipelineMaker.live(folder, machine.backend)
    let loader = PainterLoader(maker)
    let setup = FilterSetup(
      stage: RepaintStage(box, loader), settings: box, loader: loader, model: folder.name,
      device: machine.backend.description)
    let camera = try PatternCamera(width: 640, height: 480, rate: 60)
    let outcome = try measure(setup, camera)
    let model = try modelWork(maker, settings)
    let picture = settings.size.width * settings.size.height * 3
    return report(outcome, camera) { station in
      switch station {
      case .captured: return .nothing
      case .received: return .bytes(2 * camera.meanByteCount)
      case .prepared: return .bytes(camera.meanByteCount + picture)
      case .repainted: return .products(operations: model.operations, floor: model.floor)
      case .published: return .bytes(2 * picture)
      case .encoded: return .bytes(picture + outcome.meanByteCount)
      case .written: return .bytes(2 * outcome.meanByteCount)
      }
    }
  }

  /// 1280x720 at 30 frames a second, passed through as they are.
  func passing() throws -> JSON {
    let size = PictureSize(width: 1280, height: 720)
    let settings = try Settings(
      prompt: "", strength: 1, steps: 1, seed: 0, size: size, fit: .cover, mirror: false)
    let camera = try PatternCamera(width: 1280, height: 720, rate: 30)
    let outcome = try measure(.none(settings), camera)
    return report(outcome, camera) { station in
      switch station {
      case .captured, .prepared, .repainted, .published: return .nothing
      case .received, .encoded: return .bytes(2 * camera.meanByteCount)
      case .written: return .bytes(2 * outcome.meanByteCount)
      }
    }
  }

  // MARK: Measuring

  /// What was seen of a run.
  private struct Outcome: Sendable {
    var state: JSON
    var dropped: Int
    var stages: [(station: Station, reading: Meter.Reading)]
    var frames, bytes: Int
    var seconds, processor: Double
    var memory, peakMemory: Int

    /// Of a part of the stream.
    var meanByteCount: Int { frames > 0 ? bytes / frames : 0 }
  }

  private func measure(_ setup: FilterSetup, _ camera: PatternCamera) throws -> Outcome {
    let signals = Signals()
    defer { signals.end() }
    let state = RunState(setup, input: camera, takesEvery: false)
    var options = SinkOptions()
    options.control = state
    options.statistics = state.statistics
    options.counters = state.counters
    let server = try HTTPServer(HTTPAddress(parsing: "http://127.0.0.1:0"), options: options)
    let outcome = Mutex<Outcome?>(nil)
    let seconds = self.seconds
    let failure = Failure()
    let watch = try StageThread("bench") {
      state.filter.awaitLive(state.stop)
      defer {
        state.stop.set()
        state.inbox.close()
      }
      do {
        let viewer = try StreamViewer(server.address.port)
        defer { viewer.end() }
        let start = Reading()
        for _ in 0..<(seconds * 10) where !state.stop.isSet { usleep(100_000) }
        let end = Reading()
        outcome.withLock { $0 = Self.look(state, viewer, from: start, to: end) }
      } catch {
        failure.set(error)
      }
    }
    let spine = Spine(camera, setup.stage, [server], state)
    let reporter = Reporter(state, isQuiet: true, json: false)
    let code = try spine.run(limit: nil, inputWaits: false, signals, reporter)
    watch.join()
    if let signal = signals.asked?.signal { throw BenchError(text: "a signal ended it", code: 128 + signal) }
    if let error = failure.error { throw error }
    guard code == 0, let outcome = outcome.withLock({ $0 }) else {
      throw BenchError(text: "the run ended with exit code \(code)")
    }
    return outcome
  }

  private struct Reading {
    let time = Clock.now()
    let processor = Process.processorSeconds
  }

  private static func look(_ state: RunState, _ viewer: StreamViewer, from start: Reading, to end: Reading)
    -> Outcome
  {
    let stages = Station.allCases.map { ($0, state.statistics.stage($0).read()) }
    return Outcome(
      state: state.json, dropped: state.inbox.dropped, stages: stages.filter { $0.1.total > 0 },
      frames: viewer.frames, bytes: viewer.bytes, seconds: Double(end.time - start.time) / 1e9,
      processor: end.processor - start.processor - viewer.processorSeconds,
      memory: Process.residentBytes, peakMemory: Process.peakBytes)
  }

  /// What the model computes for a frame, from a pipeline of its own.
  private func modelWork(_ maker: PipelineMaker, _ settings: Settings) throws
    -> (operations: Double, floor: Double)
  {
    let pipeline = try maker.pipeline(settings.shape) { _, _ in }
    let ops = try pipeline.profile().filter { $0.cadence == .frame }
    return (ops.reduce(0) { $0 + $1.operations }, try machine.floor(of: ops))
  }

  // MARK: Telling

  /// What a station cannot do without: bytes read and written, or products.
  private enum Need {
    case nothing
    case bytes(Int)
    case products(operations: Double, floor: Double)
  }

  private func report(_ outcome: Outcome, _ camera: PatternCamera, _ need: (Station) -> Need) -> JSON {
    let frames = Double(outcome.frames)
    return .object([
      "input": .string(camera.label), "seconds": .number(rounded(outcome.seconds, 1)),
      "fps": .number(rounded(frames / outcome.seconds, 2)),
      "latency_ms": outcome.state.object?["latency_ms"] ?? .null,
      "stages": .array(outcome.stages.map { row($0.station, $0.reading, need($0.station)) }),
      "dropped": .integer(outcome.dropped),
      "processor_ms_per_frame": frames > 0
        ? .number(rounded(outcome.processor * 1e3 / frames, 2)) : .null,
      "memory_mb": .number(rounded(Double(outcome.memory) / 1e6, 1)),
      "peak_memory_mb": .number(rounded(Double(outcome.peakMemory) / 1e6, 1)),
    ])
  }

  /// The time is the middle one from the station before to this one, waiting in the mailbox included.
  private func row(_ station: Station, _ reading: Meter.Reading, _ need: Need) -> JSON {
    let (operations, bytes, floor): (Double?, Int?, Double)
    switch need {
    case .nothing: (operations, bytes, floor) = (nil, 0, 0)
    case .bytes(let count): (operations, bytes, floor) = (nil, count, machine.floor(bytes: count))
    case .products(let count, let seconds): (operations, bytes, floor) = (count, nil, seconds)
    }
    let cost = Cost(
      seconds: Double(reading.p50) / 1e9, operations: operations, bytes: bytes, floor: floor)
    let p95 = significant(Double(reading.p95) / 1e6)
    let name = JSONObject.Member(name: "stage", value: .string("\(station)"))
    return .object(
      JSONObject([name] + cost.members + [JSONObject.Member(name: "p95_ms", value: .number(p95))]))
  }
}
