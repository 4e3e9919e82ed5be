import Filter
import Frames
import Synchronization

/// The way of a frame: input → mailbox → filter → broadcast → outputs, each on a thread of its own.
///
/// What ends passes its end on: an input that is over closes the mailbox, the filter then closes every
/// output's, and the last output ends the run.
final class Spine: Sendable {
  private let input: any Input
  private let filter: any FilterStage
  private let outputs: [any Output]
  private let state: RunState
  private let inbox: Mailbox
  private let broadcast: Broadcast
  private let work: Mutex<Work>

  /// What still runs, and what came of it.
  private struct Work {
    var outputs: Int
    var hasInput = true
    /// The exit code of the first thing that went wrong.
    var code: Int32 = 0
  }

  init(_ input: any Input, _ filter: any FilterStage, _ outputs: [any Output], _ state: RunState) {
    self.input = input
    self.filter = filter
    self.outputs = outputs
    self.state = state
    inbox = state.inbox
    state.watch(outputs)
    broadcast = Broadcast(outputs.map { $0.mailbox })
    work = Mutex(Work(outputs: outputs.count))
  }

  /// Runs to the end and gives the exit code. An input that `inputWaits` (a file) starts when the filter is
  /// ready: it is not played to a model that still loads.
  func run(limit: Int?, inputWaits: Bool, _ signals: Signals, _ reporter: Reporter) throws -> Int32 {
    for output in outputs { try output.open() }
    reporter.announce(outputs)
    for (index, output) in outputs.enumerated() {
      try start("output \(index)", signals, { try self.run(output) }) { self.outputEnded(output) }
    }
    try start("filter", signals, { try self.filter.run(self.state.filterLink(self.broadcast, limit: limit)) })
    {
      self.stop()
      self.broadcast.close()
    }
    try start(
      "input", signals,
      {
        if inputWaits { self.state.filter.awaitLive(self.state.stop) }
        try self.input.run(self.state.inputLink)
      }
    ) {
      self.inbox.close()
      self.work.withLock { $0.hasInput = false }
    }
    supervise(signals, reporter)
    return work.withLock { $0.code }
  }

  /// Until every output has finished; a first signal asks for that, a second one does not wait for it.
  private func supervise(_ signals: Signals, _ reporter: Reporter) {
    while work.withLock({ $0.outputs > 0 }) {
      if let signal = signals.wait(milliseconds: 200), !signals.isRepeated(signal) {
        if state.stop.isSet && signals.asked != nil { Terminal.end(with: 128 + signal) }
        signals.asked = (signal, Clock.now())
        stop()
        // The filter may wait for an output that takes nothing, or paint for minutes: neither is waited for.
        broadcast.close()
      }
      reporter.tick()
    }
    stop()
    // A camera is given the time to close; a network stream that hangs is not waited for.
    for _ in 0..<10 where work.withLock({ $0.hasInput }) { _ = signals.wait(milliseconds: 100) }
  }

  private func stop() {
    state.stop.set()
    inbox.close()
  }

  private func run(_ output: any Output) throws {
    do { try output.run() } catch {
      state.lose(output, error)
      throw error
    }
  }

  private func outputEnded(_ output: any Output) {
    output.mailbox.isWanted = false
    output.mailbox.close()
    let left = work.withLock { work in
      work.outputs -= 1
      return work.outputs
    }
    if left == 0 { stop() }
  }

  private func start(
    _ name: String, _ signals: Signals, _ body: @escaping @Sendable () throws -> Void,
    then end: @escaping @Sendable () -> Void
  ) throws {
    _ = try StageThread(name) {
      do { try body() } catch {
        Terminal.clearStatus()
        Terminal.complain("\(error)")
        self.work.withLock { if $0.code == 0 { $0.code = exitCode(of: error) } }
      }
      end()
      signals.wake()
    }
  }
}
