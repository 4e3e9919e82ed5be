import Frames
import Synchronization

/// How fast a counter grows, over the last two seconds.
final class ArrivalRate: Sendable {
  private let samples = Mutex<[(time: UInt64, count: Int)]>([])

  func sample(_ count: Int) {
    let now = Clock.now()
    samples.withLock {
      $0.append((now, count))
      while $0.count > 2, now - $0[0].time > 2_000_000_000 { $0.removeFirst() }
    }
  }

  var rate: Double {
    samples.withLock {
      guard let first = $0.first, let last = $0.last, last.time > first.time else { return 0 }
      return Double(last.count - first.count) * 1e9 / Double(last.time - first.time)
    }
  }
}
