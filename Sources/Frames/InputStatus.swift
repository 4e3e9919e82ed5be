import Base
import Synchronization

/// What the input is doing: what the person watching should know when there is no picture.
public final class InputStatus: Sendable {
  public enum State: Equatable, Sendable {
    /// Not ready yet: "camera /dev/video0 starting".
    case starting(String)
    case live
    /// No frames for a reason that may pass: "camera /dev/video0 unplugged, waiting".
    case waiting(String)
    case ended
  }
  private let state: Lock<State>
  /// Nanoseconds from the last picture to the next as the source knows them, 0 where it does not: slides
  /// stand for longer than it takes to miss a camera.
  public let interval = Atomic<UInt64>(0)
  private let warnings = Lock<[String]>([])
  /// More than these between two looks say nothing new.
  private static let mostWarnings = 16

  public init(_ state: State = .starting("starting")) { self.state = Lock(state) }
  public var current: State { state.withLock { $0 } }
  public func set(_ new: State) { state.withLock { $0 = new } }

  /// Something the person should read that does not stop the work: a file that ends too early.
  public func warn(_ text: String) {
    warnings.withLock { if $0.count < InputStatus.mostWarnings { $0.append(text) } }
  }
  /// The warnings since the last call.
  public func takeWarnings() -> [String] {
    warnings.withLock { warnings in
      defer { warnings.removeAll() }
      return warnings
    }
  }
}
