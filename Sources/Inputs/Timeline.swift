/// Puts the pictures of a film into one line of time, which never goes back.
///
/// Films that were joined end to end begin again with small stamps, a clock may wrap, and a stamp may be nonsense:
/// after such a jump the film goes on one picture after the last.
struct Timeline {
  /// Nanoseconds between two pictures that do not say.
  private let interval: UInt64
  private var last: UInt64?
  /// From a stamp to the line.
  private var shift: Int64 = 0

  /// Back by less is a stamp that was rounded or out of order.
  private static let jitter: Int64 = 100_000_000
  /// Ahead by more is no picture that somebody wants to wait for.
  private let longest: Int64

  init(interval: UInt64, longest: Int64 = 60_000_000_000) {
    self.interval = interval
    self.longest = longest
  }

  /// When the next picture is due, nanoseconds from the first's beginning.
  mutating func place(_ stamp: Int64?) -> UInt64 {
    let next = Int64(clamping: last.map { $0 + interval } ?? 0)
    guard let stamp else { return settle(next) }
    let (place, isBeyond) = stamp.addingReportingOverflow(shift)
    let before = Int64(clamping: last ?? 0)
    if !isBeyond, place >= before - Timeline.jitter, place <= before + longest {
      return settle(max(place, before))
    }
    shift = next &- stamp
    return settle(next)
  }

  private mutating func settle(_ place: Int64) -> UInt64 {
    last = UInt64(place)
    return UInt64(place)
  }
}
