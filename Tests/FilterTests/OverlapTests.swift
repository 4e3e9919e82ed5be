import Filter
import Frames
import TestSupport
import Testing

/// Pictures that are begun before the last is finished. Whether a frame waits when one is begun is for the tests
/// to say and not for a clock: they let each be begun by itself.
@Suite struct OverlapTests {
  @Test(arguments: [1, 2, 5]) func aRunOfEveryFrameLosesNone(depth: Int) throws {
    let maker = FakeMaker()
    maker.log.depth.store(depth, ordering: .relaxed)
    maker.log.allowed.store(0, ordering: .releasing)
    let bench = Bench(RepaintStage(try box(), PainterLoader(maker)), takesEvery: true)
    let feeder = try StageThread("feeder") {
      for number in 1...40 {
        bench.put(UInt8(number), sequence: UInt64(number))
        // The frame after it waits.
        maker.log.allowed.store(number - 1, ordering: .releasing)
      }
      bench.link.mailbox.close()
      maker.log.allowed.store(.max, ordering: .releasing)
    }
    var numbers: [UInt64] = []
    while let frame = bench.picture() {
      #expect(frame.bytes.first == 255 - UInt8(frame.sequence))
      numbers.append(frame.sequence)
    }
    feeder.join()
    try bench.join()
    #expect(numbers == Array(1...40))
    #expect(maker.log.most.load(ordering: .relaxed) == depth)
  }

  /// A camera that is faster than the painter has a second picture begun, unless the age of pictures counts for
  /// more. What is under way when frames stop coming is shown.
  @Test(arguments: [(false, 2, 2), (false, 3, 3), (true, 2, 1)])
  func aSecondPictureIsBegunWhereThePainterIsBehind(prefersLatency: Bool, depth: Int, most: Int) throws {
    let maker = FakeMaker()
    maker.log.depth.store(depth, ordering: .relaxed)
    maker.log.allowed.store(0, ordering: .releasing)
    let bench = Bench(RepaintStage(try box(), PainterLoader(maker), prefersLatency: prefersLatency))
    // Before, frames are let go.
    #expect(eventually { bench.link.status.current == .live })
    bench.put(1, sequence: 1)
    let last = 12
    for number in 1..<last {
      try #require(eventually { maker.log.asked.load(ordering: .acquiring) == number })
      bench.put(UInt8(number + 1), sequence: UInt64(number + 1))
      maker.log.allowed.store(number, ordering: .releasing)
    }
    maker.log.allowed.store(.max, ordering: .releasing)
    var shown: UInt64 = 0
    while shown < UInt64(last) {
      let frame = try #require(bench.picture())
      #expect(frame.sequence > shown && frame.bytes.first == 255 - UInt8(frame.sequence))
      shown = frame.sequence
    }
    try bench.end()
    #expect(maker.log.most.load(ordering: .relaxed) == most)
    #expect(bench.link.counters.framesOut.load(ordering: .relaxed) == last)
  }

  /// Of a camera that is slower than the painter no picture waits for the frame after it.
  @Test(arguments: [2, 3]) func aSlowCamerasPicturesAreShownAtOnce(depth: Int) throws {
    let maker = FakeMaker()
    maker.log.depth.store(depth, ordering: .relaxed)
    let bench = Bench(RepaintStage(try box(), PainterLoader(maker)))
    #expect(eventually { bench.link.status.current == .live })
    for number in 1...12 as ClosedRange<UInt64> {
      bench.put(UInt8(number), sequence: number)
      let frame = try #require(bench.picture())
      #expect(frame.sequence == number && frame.bytes.first == 255 - UInt8(number))
    }
    try bench.end()
    #expect(maker.log.most.load(ordering: .relaxed) == 1)
  }
}
