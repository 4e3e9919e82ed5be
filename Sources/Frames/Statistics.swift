/// How long frames take between stations, and from camera to output.
///
/// The filter records a frame when it publishes it, every output when it has written it.
public final class Statistics: Sendable {
  /// From the station before (the last one that was passed) to this one, by `Station.rawValue`.
  private let stages: [Meter] = Station.allCases.map { _ in Meter() }
  /// From capture to written, of all outputs.
  public let latency = Meter()
  /// Frames published; its durations mean nothing.
  public let published = Meter()

  public init() {}

  /// Time spent to reach `station` from the one before.
  public func stage(_ station: Station) -> Meter { stages[station.rawValue] }

  /// Records the stations up to `.published`.
  public func published(_ stamps: Stamps) {
    record(stamps, from: .received, to: .published)
    published.record(0, at: stamps[.published])
  }

  /// Records an output's stations and the whole way.
  public func written(_ stamps: Stamps) {
    record(stamps, from: .encoded, to: .written)
    guard stamps[.captured] != 0, stamps[.written] >= stamps[.captured] else { return }
    latency.record(stamps[.written] - stamps[.captured], at: stamps[.written])
  }

  private func record(_ stamps: Stamps, from first: Station, to last: Station) {
    for index in first.rawValue...last.rawValue {
      guard let station = Station(rawValue: index), stamps[station] != 0 else { continue }
      guard let before = lastPassed(stamps, before: station), stamps[station] >= before else { continue }
      stage(station).record(stamps[station] - before, at: stamps[station])
    }
  }

  private func lastPassed(_ stamps: Stamps, before station: Station) -> UInt64? {
    var index = station.rawValue - 1
    while index >= 0 {
      if let earlier = Station(rawValue: index), stamps[earlier] != 0 { return stamps[earlier] }
      index -= 1
    }
    return nil
  }
}
