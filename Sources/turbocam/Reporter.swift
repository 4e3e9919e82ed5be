import Frames
import Glibc

/// Tells the person at the terminal how a run goes. Serves the supervising thread.
final class Reporter {
  private let state: RunState
  private let isQuiet: Bool
  private let json: Bool
  private var lastReport: UInt64 = 0
  /// Whether the run began: what is refused before it has no numbers.
  private var isAnnounced = false

  init(_ state: RunState, isQuiet: Bool, json: Bool) {
    self.state = state
    self.isQuiet = isQuiet
    self.json = json
  }

  /// Says where the picture is to be seen.
  func announce(_ outputs: [any Output]) {
    isAnnounced = true
    guard !isQuiet else { return }
    let way = state.loader == nil ? "passed through unchanged" : "\(state.model) (\(state.device))"
    Terminal.say("turbocam: \(state.input.label) → \(way)")
    for output in outputs { Terminal.say("turbocam: → \(output.label)") }
  }

  func tick() {
    state.sample()
    let now = Clock.now()
    let interval: UInt64 = state.isLoading && !json ? 150_000_000 : 1_000_000_000
    guard now - lastReport >= interval else { return }
    lastReport = now
    if json { printState() } else if !isQuiet { Terminal.status(state.line) }
  }

  /// Leaves the terminal on a fresh line, and the last numbers in a log.
  func end() {
    guard isAnnounced else { return }
    if json { return printState() }
    guard !isQuiet else { return }
    Terminal.clearStatus()
    Terminal.say("turbocam: \(state.summary)")
  }

  private func printState() {
    // Pictures go on where nobody can be told of them, and this thread is the one that signals reach.
    if Terminal.isReady { try? Terminal.print(state.json.text) }
  }
}
