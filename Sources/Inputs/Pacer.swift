import Frames
import Glibc

/// Sleeps until frames are due, in steps short enough to notice the program's end.
struct Pacer {
  /// When time 0 of the source was, in CLOCK_MONOTONIC nanoseconds.
  private var start: UInt64?
  private static let step: UInt64 = 50_000_000
  /// Later or earlier than this is a jump in the source or a machine that slept: time starts anew.
  private static let tolerance: UInt64 = 1_000_000_000

  /// Waits for `time`, nanoseconds since the source's own beginning.
  mutating func wait(for time: UInt64, _ stop: StopFlag) {
    let now = Clock.now()
    let due = (start ?? now &- time) &+ time
    let offset = Int64(bitPattern: due &- now)
    guard start != nil, offset.magnitude <= Pacer.tolerance else {
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
      var time = timespec(tv_sec: Int(next / 1_000_000_000), tv_nsec: Int(next % 1_000_000_000))
      clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &time, nil)
    }
  }
}
