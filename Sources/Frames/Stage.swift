import Synchronization

/// Where frames come from. `run` blocks on the stage's own thread until the source ends for good or `stop`.
public protocol Input: AnyObject, Sendable {
  /// For people: "/dev/video0 (Integrated Camera)".
  var label: String { get }
  /// Puts frames in `link.mailbox`, tells `link.status` what it is doing, and returns when a file has ended
  /// or `link.stop` is set. A camera that goes away is waited for; it throws only what cannot mend itself.
  func run(_ link: InputLink) throws
}

/// What an input needs from the spine.
public struct InputLink: Sendable {
  public let mailbox: Mailbox
  public let status: StatusBoard
  public let counters: Counters
  public let stop: StopFlag
  public init(mailbox: Mailbox, status: StatusBoard, counters: Counters, stop: StopFlag) {
    self.mailbox = mailbox
    self.status = status
    self.counters = counters
    self.stop = stop
  }
}

/// Where frames go. `run` blocks on the output's own thread, takes from `mailbox` until it is closed and empty,
/// then finishes (a recorder writes its index).
public protocol Output: AnyObject, Sendable {
  var label: String { get }
  var mailbox: Mailbox { get }
  /// Opens device, socket or file, so that a wrong sink is refused before any work starts.
  func open() throws
  func run() throws
}

/// Set once, from a signal or another thread.
public final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)
  public init() {}
  public var isSet: Bool { flag.load(ordering: .relaxed) }
  public func set() { flag.store(true, ordering: .relaxed) }
}

/// What the person watching should know when there is no picture: loading, no camera, no memory.
public final class StatusBoard: Sendable {
  public enum State: Equatable, Sendable {
    /// Not ready yet: "loading model 43%".
    case starting(String)
    case live
    /// No frames for a reason that may pass: "camera /dev/video0 unplugged, waiting".
    case waiting(String)
    case ended
  }
  private let state: Lock<State>
  /// Nanoseconds from the last picture to the next as the source knows them, 0 where it does not: slides stand
  /// for longer than it takes to miss a camera.
  public let interval = Atomic<UInt64>(0)
  private let warnings = Lock<[String]>([])
  /// More than these between two looks say nothing new.
  private static let mostWarnings = 16

  public init(_ state: State = .starting("starting")) { self.state = Lock(state) }
  public var current: State { state.withLock { $0 } }
  public func set(_ new: State) { state.withLock { $0 = new } }

  /// Something the person should read that does not stop the work: a file that ends too early.
  public func warn(_ text: String) {
    warnings.withLock { if $0.count < StatusBoard.mostWarnings { $0.append(text) } }
  }
  /// The warnings since the last call.
  public func takeWarnings() -> [String] {
    warnings.withLock { warnings in
      defer { warnings.removeAll() }
      return warnings
    }
  }
}

/// Events worth counting, shown in `/state`.
public final class Counters: Sendable {
  /// Frames an input gave.
  public let framesIn = Atomic<Int>(0)
  /// Frames the filter published.
  public let framesOut = Atomic<Int>(0)
  /// Frames dropped because no buffer was free.
  public let starved = Atomic<Int>(0)
  /// JPEGs that do not decode, buffers the driver flagged.
  public let corrupt = Atomic<Int>(0)
  /// Frames that a source made and nobody fetched in time: gaps in its numbers.
  public let missed = Atomic<Int>(0)
  /// Times a source was opened again.
  public let reconnects = Atomic<Int>(0)
  /// People who watch the web stream now.
  public let viewers = Atomic<Int>(0)
  public init() {}
}
