import Frames
import Testing

@Suite struct MeterTests {
  @Test func readsNothingBeforeTheFirstEvent() {
    #expect(Meter().read() == Meter.Reading(p50: 0, p95: 0, rate: 0, total: 0))
  }

  @Test func percentilesAreByNearestRank() {
    let meter = Meter(capacity: 100)
    for value in (1...100).reversed() { meter.record(UInt64(value), at: 1000) }
    let reading = meter.read(now: 1000)
    #expect(reading.p50 == 50)
    #expect(reading.p95 == 95)
    #expect(reading.total == 100)
  }

  @Test func forgetsWhatIsOlderThanItsCapacity() {
    let meter = Meter(capacity: 4)
    for value in [900, 900, 900, 1, 2, 3, 4] as [UInt64] { meter.record(value, at: 0) }
    #expect(meter.read(now: 0).p95 == 4)
    #expect(meter.read(now: 0).total == 7)
  }

  @Test func rateCountsTheWindowOnly() {
    let meter = Meter()
    let second: UInt64 = 1_000_000_000
    meter.record(0, at: second)
    for event in 0..<21 as Range<UInt64> { meter.record(0, at: 10 * second + event * second / 10) }
    let reading = meter.read(window: 2 * second, now: 12 * second)
    #expect(abs(reading.rate - 10) < 1e-9)
  }
}

@Suite struct StatisticsTests {
  @Test func eachStationCountsFromTheOneBeforeThatWasPassed() {
    var stamps = Stamps()
    stamps[.captured] = 100
    stamps[.received] = 110
    stamps[.published] = 150
    let statistics = Statistics()
    statistics.published(stamps)
    #expect(statistics.stage(.received).read().p50 == 10)
    #expect(statistics.stage(.published).read().p50 == 40)
    #expect(statistics.stage(.repainted).read().total == 0)
    stamps[.encoded] = 160
    stamps[.written] = 200
    statistics.written(stamps)
    #expect(statistics.stage(.written).read().p50 == 40)
    #expect(statistics.latency.read().p50 == 100)
  }

  @Test func aFrameWithoutATimeOfCaptureHasNoLatency() {
    var stamps = Stamps()
    stamps[.written] = 200
    let statistics = Statistics()
    statistics.written(stamps)
    #expect(statistics.latency.read().total == 0)
  }
}
