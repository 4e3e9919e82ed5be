import Frames

/// Time without a painter, because what it ran on was lost: tried again after pauses that grow from one second to one
/// minute, until a picture was repainted.
struct Outage {
  let reason: String
  /// Nanoseconds.
  private let pause: UInt64
  private let end: UInt64

  private static let firstPause: UInt64 = 1_000_000_000
  private static let longestPause: UInt64 = 60_000_000_000

  /// `before`: the try that failed before, nil for the first.
  init(reason: String, after before: Outage?) {
    self.reason = reason
    pause = before.map { min(2 * $0.pause, Self.longestPause) } ?? Self.firstPause
    end = Clock.now() + pause
  }

  /// Whether it is time to try again.
  var isOver: Bool { Clock.now() >= end }

  /// For people.
  var text: String {
    let now = Clock.now()
    let seconds = end > now ? (end - now + 999_999_999) / 1_000_000_000 : 0
    return "\(reason); trying again in \(seconds) s"
  }
}
