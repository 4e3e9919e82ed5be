import Frames

/// Time without a painter, because what it ran on was lost or its memory is taken: tried again after pauses that
/// double, until a picture was repainted or there is no hope left.
///
/// After most faults a driver serves a process no more (cuda.h: "the process must be terminated and relaunched"): whoever
/// started this one must do that. Memory that something else holds is waited for as long as it takes.
struct Outage {
  let reason: String
  /// Whether only memory is missing.
  private let wantsMemory: Bool
  /// Of the settings that were tried.
  private var generation: Int
  /// Nanoseconds.
  private let pause: UInt64
  private var end: UInt64
  /// Tries that failed for more than want of memory.
  private let failures: Int

  /// Where the first pause is a second, the last is 32: a minute in all.
  private static let limit = 6

  /// `before`: the try that failed before, nil for the first, which waits `firstPause` nanoseconds. `generation`: of the
  /// settings that were tried.
  init(
    reason: String, wantsMemory: Bool, generation: Int, after before: Outage?, firstPause: UInt64
  ) {
    self.reason = reason
    self.wantsMemory = wantsMemory
    self.generation = generation
    pause = before.map { min(2 * $0.pause, firstPause << (Self.limit - 1)) } ?? firstPause
    failures = (before?.failures ?? 0) + (wantsMemory ? 0 : 1)
    end = Clock.now() + pause
  }

  /// Whether another try is of no use.
  var isHopeless: Bool { failures > Self.limit }

  /// Whether it is time to try again.
  var isOver: Bool { Clock.now() >= end }

  /// Other settings may need less memory: they are not kept waiting.
  mutating func note(_ generation: Int) {
    guard wantsMemory, generation != self.generation else { return }
    self.generation = generation
    end = Clock.now()
  }

  /// For people.
  var text: String {
    let now = Clock.now()
    let seconds = end > now ? (end - now + 999_999_999) / 1_000_000_000 : 0
    return "\(reason); trying again in \(seconds) s"
  }
}
