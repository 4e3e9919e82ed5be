import Diffusion
import Filter
import Frames
import Glibc
import Outputs
import Synchronization

/// What the stages of one run share, and what `/state`, the status line and `--json` tell of it.
final class RunState: Control {
  let inbox: Mailbox
  let source = InputStatus()
  let filter: FilterStatus
  let counters = Counters()
  let statistics = Statistics()
  let stop = StopFlag()
  let settings: SettingsBox
  /// The loader of a model, nil where there is none.
  let loader: PainterLoader?
  let input: any Input
  /// Names for people.
  let model: String
  let device: String
  let styles: [Styles.Style]
  let takesEvery: Bool
  let started = Clock.now()
  private let note: String?
  private let news = Mutex(News())
  let arrivals = ArrivalRate()
  private let watched = Mutex<[Watched]>([])

  /// An output and, once it is lost, why.
  struct Watched {
    let output: any Output
    var error: String?
  }

  init(_ setup: FilterSetup, input: any Input, takesEvery: Bool) {
    self.input = input
    settings = setup.settings
    loader = setup.loader
    model = setup.model
    device = setup.device
    styles = setup.styles
    note = setup.note
    self.takesEvery = takesEvery
    inbox = Mailbox(takesEvery ? .every : .newest)
    // Also without a model it is not live before the stage runs, which is after the outputs have opened.
    filter = FilterStatus(.loading(loader == nil ? "starting" : "loading model", 0))
  }

  var inputLink: InputLink { InputLink(mailbox: inbox, status: source, counters: counters, stop: stop) }

  func filterLink(_ broadcast: Broadcast, limit: Int?) -> FilterLink {
    FilterLink(
      mailbox: inbox, broadcast: broadcast, source: source, status: filter, counters: counters,
      statistics: statistics, stop: stop, takesEvery: takesEvery, limit: limit, tell: tell,
      takeBack: takeBack)
  }

  private func takeBack(_ warning: String) { news.withLock { $0.takeBack(warning) } }

  func tell(_ warning: String) {
    news.withLock { $0.tell(warning) }
    Terminal.clearStatus()
    Terminal.say("turbocam: \(warning)")
  }

  /// The last warning while it is news, else what there is to know about the device.
  var message: String? { news.withLock { $0.current() } ?? note }

  /// Whose drops and losses to tell.
  func watch(_ outputs: [any Output]) { watched.withLock { $0 = outputs.map { Watched(output: $0) } } }

  func lose(_ output: any Output, _ error: any Error) {
    watched.withLock { all in
      for index in all.indices where all[index].output === output { all[index].error = "\(error)" }
    }
  }

  var outputs: [Watched] { watched.withLock { $0 } }

  /// Call a few times a second.
  func sample() {
    arrivals.sample(counters.framesIn.load(ordering: .relaxed))
    for warning in source.takeWarnings() { tell(warning) }
  }

  /// One line: what is wrong or, while nothing is, how fast it goes.
  var line: String {
    if case .loading(let text, let fraction) = filter.current { return Terminal.bar(text, fraction) }
    if case .trouble(let text) = filter.current { return text }
    if case .waiting(let reason) = source.current { return reason }
    let lost = outputs.filter { $0.error != nil }.map { ", \($0.output.label) lost" }.joined()
    return "\(fixed(statistics.published.read().rate, 1)) frames/s\(delay), \(drops) dropped\(lost)"
  }

  /// One line for the end.
  var summary: String {
    let frames = counters.framesOut.load(ordering: .relaxed)
    let seconds = Double(Clock.now() - started) / 1e9
    return "\(frames) frames in \(fixed(seconds, 1)) s\(delay), \(drops) dropped"
  }

  /// The median from capture to output; a file that is not played in its own time has none.
  private var delay: String {
    let latency = statistics.latency.read()
    guard latency.total > 0, !takesEvery else { return "" }
    return ", latency \(fixed(Double(latency.p50) / 1e6, 0)) ms"
  }

  var isLoading: Bool {
    if case .loading = filter.current { return true }
    return false
  }

  private var drops: Int { inbox.dropped + counters.starved.load(ordering: .relaxed) }

  func stateJSON() -> [UInt8] { json.bytes }

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
}
