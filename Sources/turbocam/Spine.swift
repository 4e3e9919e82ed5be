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
  private let board: Board
  private let inbox: Mailbox
  private let broadcast: Broadcast
  /// Outputs at work, whether the input is, and the first thing that went wrong.
  private let ends: Mutex<(outputs: Int, input: Bool, code: Int32)>

  init(_ input: any Input, _ filter: any FilterStage, _ outputs: [any Output], _ board: Board) {
    self.input = input
    self.filter = filter
    self.outputs = outputs
    self.board = board
    inbox = board.inbox
    board.watch(outputs)
    broadcast = Broadcast(outputs.map { $0.mailbox })
    ends = Mutex((outputs.count, true, 0))
  }

  /// Runs to the end and gives the exit code. An input that `inputWaits` (a file) starts when the filter is
  /// ready: it is not played to a model that still loads.
  func run(limit: Int?, inputWaits: Bool, _ signals: Signals, _ reporter: Reporter) throws -> Int32 {
    for output in outputs { try output.open() }
    reporter.announce(outputs)
    for (index, output) in outputs.enumerated() {
      try start("output \(index)", signals, { try self.run(output) }) { self.outputEnded(output) }
    }
    try start("filter", signals, { try self.filter.run(self.board.filterLink(self.broadcast, limit: limit)) })
    {
      self.stop()
      self.broadcast.close()
    }
    try start(
      "input", signals,
      {
        if inputWaits { self.board.filter.awaitLive(self.board.stop) }
        try self.input.run(self.board.inputLink)
      }
    ) {
      self.inbox.close()
      self.ends.withLock { $0.input = false }
    }
    supervise(signals, reporter)
    return ends.withLock { $0.code }
  }

  /// Until every output has finished; a first signal asks for that, a second one does not wait for it.
  private func supervise(_ signals: Signals, _ reporter: Reporter) {
    while ends.withLock({ $0.outputs > 0 }) {
      if let signal = signals.wait(milliseconds: 200), !signals.isRepeated(signal) {
        if board.stop.isSet && signals.asked != nil { Terminal.end(with: 128 + signal) }
        signals.asked = (signal, Clock.now())
        stop()
        // The filter may wait for an output that takes nothing, or paint for minutes: neither is waited for.
        broadcast.close()
      }
      reporter.tick()
    }
    stop()
    // A camera is given the time to close; a network stream that hangs is not waited for.
    for _ in 0..<10 where ends.withLock({ $0.input }) { _ = signals.wait(milliseconds: 100) }
  }

  private func stop() {
    board.stop.set()
    inbox.close()
  }

  private func run(_ output: any Output) throws {
    do { try output.run() } catch {
      board.lose(output, error)
      throw error
    }
  }

  private func outputEnded(_ output: any Output) {
    output.mailbox.isWanted = false
    output.mailbox.close()
    if ends.withLock({
      $0.outputs -= 1; return $0.outputs
    }) == 0 {
      stop()
    }
  }

  private func start(
    _ name: String, _ signals: Signals, _ body: @escaping @Sendable () throws -> Void,
    then end: @escaping @Sendable () -> Void
  ) throws {
    _ = try StageThread(name) {
      do { try body() } catch {
        Terminal.clearStatus()
        Terminal.complain("\(error)")
        self.ends.withLock { if $0.code == 0 { $0.code = exitCode(of: error) } }
      }
      end()
      signals.wake()
    }
  }
}
