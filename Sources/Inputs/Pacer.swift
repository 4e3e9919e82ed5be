import Base
import Frames
import Glibc

/// Sleeps until frames are due, in steps short enough to notice the program's end.
struct Pacer {
  /// When time 0 of the source was, in CLOCK_MONOTONIC nanoseconds.
  private var start: UInt64?
  private static let step: UInt64 = 50_000_000
  /// Later than this is a jump in the source or a machine that slept: time starts anew.
  private static let latest: Int64 = 1_000_000_000
  /// Earlier than this no picture of the slowest source is.
  private static let earliest = Int64(1e9 / SourceOptions.rates.lowerBound) + latest

  /// Waits for `time`, nanoseconds since the source's own beginning.
  mutating func wait(for time: UInt64, _ stop: StopFlag) {
    let now = Clock.now()
    let due = (start ?? now &- time) &+ time
    let offset = Int64(bitPattern: due &- now)
    guard start != nil, (-Pacer.latest...Pacer.earliest).contains(offset) else {
      start = now &- time
      return
    }
    Pacer.sleep(until: due, stop)
  }

  /// The next time waited for is now.
  mutating func restart() { start = nil }

  /// Sleeps until a time of CLOCK_MONOTONIC, or until the program stops.
  static func sleep(until due: UInt64, _ stop: StopFlag) {
    while !stop.isSet {
      let now = Clock.now()
      guard now < due else { return }
      let next = min(due, now + step)
      var time = timespec(nanoseconds: next)
      clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &time, nil)
    }
  }
}

/// Leaves out frames of a source that is faster than the rate that was asked for.
struct RateLimit {
  private let interval: UInt64
  private var nextDue: UInt64 = 0
  /// Stamps are rounded and cameras jitter: this much early is in time.
  private let earliness: UInt64

  /// nil: every frame is due.
  init(_ rate: Double?) {
    interval = rate.map { SourceOptions.rates.contains($0) ? UInt64(1e9 / $0) : 0 } ?? 0
    earliness = max(1_000_000, interval / 8)
  }

  /// Whether the frame of `time`, nanoseconds of the source's clock, is due.
  mutating func isDue(_ time: UInt64) -> Bool {
    guard interval > 0 else { return true }
    guard time + earliness >= nextDue else { return false }
    // Behind by more than a frame there is nothing to catch up with.
    nextDue = max(nextDue + interval, time + interval / 2)
    return true
  }

  /// The source's clock starts again.
  mutating func restart() { nextDue = 0 }
}
