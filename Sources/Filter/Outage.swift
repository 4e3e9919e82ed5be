import Frames

/// Time without a painter, because what it ran on was lost: tried again after pauses that double, until
/// a picture was repainted or there is no hope left. After most faults a driver serves a process no more (cuda.h: "the
/// process must be terminated and relaunched"): whoever started this one must do that.
struct Outage {
  let reason: String
  /// Nanoseconds.
  private let pause: UInt64
  private let end: UInt64
  private let tries: Int

  /// Where the first pause is a second, the last is 32: a minute in all.
  private static let limit = 6

  /// `before`: the try that failed before, nil for the first, which waits `firstPause` nanoseconds.
  init(reason: String, after before: Outage?, firstPause: UInt64) {
    self.reason = reason
    pause = before.map { 2 * $0.pause } ?? firstPause
    tries = (before?.tries ?? 0) + 1
    end = Clock.now() + pause
  }

  /// Whether another try is of no use.
  var isHopeless: Bool { tries > Self.limit }

  /// Whether it is time to try again.
  var isOver: Bool { Clock.now() >= end }

  /// For people.
  var text: String {
    let now = Clock.now()
    let seconds = end > now ? (end - now + 999_999_999) / 1_000_000_000 : 0
    return "\(reason); trying again in \(seconds) s"
  }
}
