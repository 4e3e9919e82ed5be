import Base
import Glibc

/// The stations a frame passes, in order.
public enum Station: Int, CaseIterable, Sendable {
  /// The driver's time of capture (or a file's time of demuxing).
  case captured
  /// Taken over from the driver.
  case received
  /// Pixels as the model wants them are ready.
  case prepared
  /// The model gave its picture.
  case repainted
  /// Handed to the outputs.
  case published
  /// Encoded or converted for one output.
  case encoded
  /// Given to the kernel: socket, device or file.
  case written
}

/// When a frame passed each station, in nanoseconds of CLOCK_MONOTONIC; 0 where it did not.
public struct Stamps: Sendable {
  private var times: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)
  /// Of a picture of a film: when it is to be seen, in nanoseconds from the film's start. nil of all others.
  public var filmTime: UInt64?

  public init() {}

  public subscript(station: Station) -> UInt64 {
    get {
      switch station {
      case .captured: return times.0
      case .received: return times.1
      case .prepared: return times.2
      case .repainted: return times.3
      case .published: return times.4
      case .encoded: return times.5
      case .written: return times.6
      }
    }
    set {
      switch station {
      case .captured: times.0 = newValue
      case .received: times.1 = newValue
      case .prepared: times.2 = newValue
      case .repainted: times.3 = newValue
      case .published: times.4 = newValue
      case .encoded: times.5 = newValue
      case .written: times.6 = newValue
      }
    }
  }

  /// Stamps `station` with the time now.
  public mutating func pass(_ station: Station) { self[station] = Clock.now() }
}

/// CLOCK_MONOTONIC, which V4L2 stamps buffers with too.
public enum Clock {
  /// Nanoseconds.
  public static func now() -> UInt64 { timespec(of: CLOCK_MONOTONIC).nanoseconds }

  /// Blocks this thread for so many nanoseconds, or less where a signal comes.
  public static func sleep(_ nanoseconds: UInt64) {
    var time = timespec(nanoseconds: nanoseconds)
    nanosleep(&time, nil)
  }
}
