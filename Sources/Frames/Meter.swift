import Base

/// The last durations of one kind of event: their middle, their slow end, and how often they come.
///
/// Safe from several threads. Recording allocates nothing; reading copies and sorts.
public final class Meter: Sendable {
  private struct Ring {
    var times: [UInt64]
    var durations: [UInt64]
    var next = 0
    var filled = 0
    var total = 0
  }
  private let ring: Lock<Ring>

  /// What a meter tells, durations in nanoseconds.
  public struct Reading: Sendable, Equatable {
    public var p50: UInt64
    public var p95: UInt64
    /// Events a second over the last seconds.
    public var rate: Double
    /// Events since the start.
    public var total: Int

    public init(p50: UInt64, p95: UInt64, rate: Double, total: Int) {
      (self.p50, self.p95, self.rate, self.total) = (p50, p95, rate, total)
    }
  }

  /// Remembers `capacity` events.
  public init(capacity: Int = 256) {
    precondition(capacity > 1)
    ring = Lock(
      Ring(
        times: Array(repeating: 0, count: capacity), durations: Array(repeating: 0, count: capacity)))
  }

  /// Records an event that took `duration` nanoseconds and ended at `time` (CLOCK_MONOTONIC).
  public func record(_ duration: UInt64, at time: UInt64 = Clock.now()) {
    ring.withLock {
      $0.times[$0.next] = time
      $0.durations[$0.next] = duration
      $0.next = ($0.next + 1) % $0.times.count
      $0.filled = min($0.filled + 1, $0.times.count)
      $0.total += 1
    }
  }

  /// Reads the meter; the rate counts what came in the `window` nanoseconds before `now`. Percentiles are
  /// by nearest rank, 0 while nothing was recorded.
  public func read(window: UInt64 = 2_000_000_000, now: UInt64 = Clock.now()) -> Reading {
    let (times, durations, total) = ring.withLock {
      (Array($0.times[..<$0.filled]), Array($0.durations[..<$0.filled]), $0.total)
    }
    let sorted = durations.sorted()
    let recent = times.filter { $0 &+ window >= now && $0 <= now }.sorted()
    var rate = 0.0
    if let first = recent.first, let last = recent.last, last > first {
      rate = Double(recent.count - 1) * 1e9 / Double(last - first)
    }
    return Reading(
      p50: Self.rank(sorted, 0.50), p95: Self.rank(sorted, 0.95), rate: rate, total: total)
  }

  private static func rank(_ sorted: [UInt64], _ share: Double) -> UInt64 {
    guard !sorted.isEmpty else { return 0 }
    let rank = Int((share * Double(sorted.count)).rounded(.up))
    return sorted[min(max(rank, 1), sorted.count) - 1]
  }
}
