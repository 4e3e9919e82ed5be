import Frames
import Synchronization

/// One way of turning frames into frames. `run` blocks on the stage's own thread until the mailbox is closed
/// and empty, `link.stop` is set, or the wanted number of frames went out.
public protocol FilterStage: AnyObject, Sendable {
  func run(_ link: FilterLink) throws
}

/// What a filter stage needs from the spine.
public struct FilterLink: Sendable {
  /// Frames from the input.
  public let mailbox: Mailbox
  public let broadcast: Broadcast
  /// What the input is doing.
  public let source: InputStatus
  /// What the filter is doing, told to people.
  public let status: FilterStatus
  public let counters: Counters
  public let statistics: Statistics
  public let stop: StopFlag
  /// Whether every frame must be repainted (a file turned into a file): no frame is skipped, no notice is
  /// shown, and what goes wrong ends the run.
  public let takesEvery: Bool
  /// Frames to publish, nil for no end.
  public let limit: Int?
  /// Takes warnings for people: a prompt that was cut, a size that could not be had.
  public let tell: @Sendable (String) -> Void
  /// A warning is no longer so.
  public let takeBack: @Sendable (String) -> Void

  public init(
    mailbox: Mailbox, broadcast: Broadcast, source: InputStatus, status: FilterStatus, counters: Counters,
    statistics: Statistics, stop: StopFlag, takesEvery: Bool, limit: Int?,
    tell: @escaping @Sendable (String) -> Void, takeBack: @escaping @Sendable (String) -> Void
  ) {
    self.mailbox = mailbox
    self.broadcast = broadcast
    self.source = source
    self.status = status
    self.counters = counters
    self.statistics = statistics
    self.stop = stop
    self.takesEvery = takesEvery
    self.limit = limit
    self.tell = tell
    self.takeBack = takeBack
  }

  var isOver: Bool {
    if stop.isSet { return true }
    guard let limit else { return false }
    return counters.framesOut.load(ordering: .relaxed) >= limit
  }

  /// Counts a finished picture and hands it to every output.
  func publish(_ frame: consuming Frame) {
    counters.framesOut.wrappingAdd(1, ordering: .relaxed)
    statistics.published(broadcast.publish(frame))
  }
}

/// What the filter is doing: shown in `/state`, on the terminal, and in the picture where there is no other.
public final class FilterStatus: Sendable {
  public enum State: Equatable, Sendable {
    /// What is being done, and how far it is, 0...1.
    case loading(String, Double)
    case live
    /// No picture until this mends itself.
    case trouble(String)
  }
  private let state: Mutex<State>

  public init(_ state: State) { self.state = Mutex(state) }

  public var current: State { self.state.withLock { $0 } }
  public func set(_ state: State) { self.state.withLock { $0 = state } }

  /// Blocks until the filter has worked once, or `stop` is set.
  public func awaitLive(_ stop: StopFlag) {
    while current != .live && !stop.isSet { Clock.sleep(10_000_000) }
  }
}
