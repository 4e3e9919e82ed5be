import Diffusion
import Filter
import Frames
import Glibc
import Outputs
import Synchronization

/// What the stages of one run share, and what `/state`, the status line and `--json` tell of it.
final class Board: Control {
  let inbox: Mailbox
  let source = StatusBoard()
  let filter: FilterStatus
  let counters = Counters()
  let statistics = Statistics()
  let stop = StopFlag()
  let settings: SettingsBox
  /// The loader of a model, nil where there is none.
  let loader: PainterLoader?
  /// Names for people.
  let names: Names
  private let takesEvery: Bool
  private let isQuiet: Bool
  private let started = Clock.now()
  private let message = Mutex<String?>(nil)
  private let arrivals = ArrivalRate()

  struct Names: Sendable {
    var input: String
    var outputs: [String]
    var model: String
    var device: String
  }

  init(_ names: Names, _ settings: SettingsBox, _ loader: PainterLoader?, takesEvery: Bool, isQuiet: Bool) {
    self.names = names
    self.settings = settings
    self.loader = loader
    self.takesEvery = takesEvery
    self.isQuiet = isQuiet
    inbox = Mailbox(takesEvery ? .every : .newest)
    filter = FilterStatus(loader == nil ? .live : .loading("loading model", 0))
  }

  var inputLink: InputLink { InputLink(mailbox: inbox, status: source, counters: counters, stop: stop) }

  func filterLink(_ broadcast: Broadcast, limit: Int?) -> FilterLink {
    FilterLink(
      mailbox: inbox, broadcast: broadcast, source: source, status: filter, counters: counters,
      statistics: statistics, stop: stop, takesEvery: takesEvery, limit: limit, tell: tell)
  }

  private func tell(_ warning: String) {
    message.withLock { $0 = warning }
    if !isQuiet {
      Terminal.clearStatus()
      Terminal.say("turbocam: \(warning)")
    }
  }

  /// Call a few times a second.
  func sample() { arrivals.sample(counters.framesIn.load(ordering: .relaxed)) }

  /// One line: what is wrong or, while nothing is, how fast it goes.
  var line: String {
    if case .loading(let text, let fraction) = filter.current { return Terminal.bar(text, fraction) }
    if case .trouble(let text) = filter.current { return text }
    if case .waiting(let reason) = source.current { return reason }
    let out = statistics.repaints.read()
    let latency = statistics.latency.read()
    return "\(fixed(out.rate, 1)) fps  \(fixed(Double(latency.p50) / 1e6, 0)) ms  \(drops) dropped"
  }

  /// One line for the end.
  var summary: String {
    let latency = statistics.latency.read()
    let frames = counters.framesOut.load(ordering: .relaxed)
    let times = latency.total > 0 ? ", \(fixed(Double(latency.p50) / 1e6, 0)) ms at p50" : ""
    return "\(frames) frames in \(fixed(Double(Clock.now() - started) / 1e9, 1)) s\(times), \(drops) dropped"
  }

  var isLoading: Bool {
    if case .loading = filter.current { return true }
    return false
  }

  private var drops: Int { inbox.dropped + counters.starved.load(ordering: .relaxed) }

  func stateJSON() -> [UInt8] { state.bytes }

  func patch(_ json: [UInt8]) -> Result<[UInt8], ControlRefusal> {
    guard loader != nil else {
      return .failure(ControlRefusal("there is no model (--model none), so there is nothing to set"))
    }
    do {
      try settings.patch(json)
      return .success(stateJSON())
    } catch {
      return .failure(ControlRefusal("\(error)"))
    }
  }

  /// All of it, as `/state` gives it.
  var state: JSON {
    .object([
      "version": .string(Program.version),
      "status": status,
      "message": message.withLock { $0.map { .string($0) } ?? .null },
      "input": .string(names.input),
      "outputs": .array(names.outputs.map { .string($0) }),
      "model": .string(names.model),
      "device": .string(names.device),
      "settings": settings.current.settings.json,
      "uptime_s": .number(rounded(Double(Clock.now() - started) / 1e9, 1)),
      "fps": .object([
        "in": .number(rounded(arrivals.rate, 2)), "out": .number(rounded(statistics.repaints.read().rate, 2)),
      ]),
      "latency_ms": reading(statistics.latency.read()),
      "stages_ms": stages,
      "viewers": .integer(counters.viewers.load(ordering: .relaxed)),
      "counters": .object([
        "frames_in": .integer(counters.framesIn.load(ordering: .relaxed)),
        "frames_out": .integer(counters.framesOut.load(ordering: .relaxed)),
        "dropped": .integer(inbox.dropped),
        "starved": .integer(counters.starved.load(ordering: .relaxed)),
        "corrupt": .integer(counters.corrupt.load(ordering: .relaxed)),
        "reconnects": .integer(counters.reconnects.load(ordering: .relaxed)),
      ]),
      "memory_mb": .number(rounded(Double(Process.residentBytes) / 1e6, 1)),
    ])
  }

  private var status: JSON {
    let (name, text): (String, String)
    switch (filter.current, source.current) {
    case (.loading(let what, let fraction), _): (name, text) = ("loading", "\(what) \(Int(fraction * 100))%")
    case (.trouble(let what), _): (name, text) = ("trouble", what)
    case (.live, .starting(let what)): (name, text) = ("starting", what)
    case (.live, .waiting(let what)): (name, text) = ("waiting", what)
    case (.live, .live): (name, text) = ("live", "")
    case (.live, .ended): (name, text) = ("ended", "")
    }
    return .object(["name": .string(name), "text": .string(text)])
  }

  private var stages: JSON {
    .object(
      JSONObject(
        Station.allCases.dropFirst().compactMap { station in
          let reading = statistics.stage(station).read()
          guard reading.total > 0 else { return nil }
          return JSONObject.Member(name: "\(station)", value: self.reading(reading))
        }))
  }

  private func reading(_ reading: Meter.Reading) -> JSON {
    .object([
      "p50": .number(rounded(Double(reading.p50) / 1e6, 2)),
      "p95": .number(rounded(Double(reading.p95) / 1e6, 2)),
    ])
  }
}
