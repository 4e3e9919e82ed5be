import Frames

/// Puts the pictures of a film into one line of time, which never goes back.
///
/// Where the stamps jump, the film goes on one picture after the last.
struct Timeline {
  /// Nanoseconds between two pictures that do not say.
  private let interval: UInt64
  private let jumps: StampJumps
  private var last: UInt64?
  /// From a stamp to the line.
  private var shift: Int64 = 0

  init(interval: UInt64, _ jumps: StampJumps) {
    self.interval = interval
    self.jumps = jumps
  }

  /// When the next picture is due, nanoseconds from the first's beginning.
  mutating func place(_ stamp: Int64?) -> UInt64 {
    let next = Int64(clamping: last.map { $0 + interval } ?? 0)
    guard let stamp else { return settle(next) }
    let (place, isBeyond) = stamp.addingReportingOverflow(shift)
    let before = Int64(clamping: last ?? 0)
    if !isBeyond, !jumps.isJump(from: before, to: place) { return settle(max(place, before)) }
    shift = next &- stamp
    return settle(next)
  }

  private mutating func settle(_ place: Int64) -> UInt64 {
    last = UInt64(place)
    return UInt64(place)
  }
}
