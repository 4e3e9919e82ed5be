import Filter
import Frames
import TestSupport
import Testing

/// A painter that is lost, or cannot be had yet: the run goes on without it, and has it again.
@Suite struct OutageTests {
  /// What holds the memory of the first painter may let go of it, however long that takes; nobody can wait for a film.
  @Test(arguments: [1, 20]) func memoryThatIsTakenIsWaitedFor(tries: Int) throws {
    let maker = FakeMaker()
    maker.log.room.store(0, ordering: .relaxed)
    let pause: UInt64 = tries == 1 ? 1_000_000_000 : 1_000_000
    let bench = Bench(RepaintStage(try box(), PainterLoader(maker), lossPause: pause))
    #expect(eventually { maker.log.begun.load(ordering: .relaxed) >= tries })
    if tries == 1 { #expect(bench.tells("no room; trying again in 1 s", "no room; trying again in 2 s")) }
    #expect(!bench.outbox.isClosed)
    maker.log.room.store(.max, ordering: .relaxed)
    #expect(bench.pictureOf(width: 64) != nil)
    #expect(eventually { bench.link.status.current == .live })
    try bench.end()
    #expect(bench.warnings.list.withLock { $0 } == ["no room"])
    maker.log.room.store(0, ordering: .relaxed)
    let film = Bench(stage(maker, try box()), takesEvery: true)
    #expect(throws: NoRoom()) { try film.join() }
  }

  /// Smaller pictures are not kept waiting: the pause would outlast this test.
  @Test func smallerPicturesAreTriedAtOnce() throws {
    let maker = FakeMaker()
    maker.log.room.store(64, ordering: .relaxed)
    let box = SettingsBox(try SettingsTests.settings(width: 128, height: 128))
    let bench = Bench(RepaintStage(box, PainterLoader(maker), lossPause: 3_600_000_000_000))
    #expect(
      eventually {
        guard case .trouble(let text) = bench.link.status.current else { return false }
        return text.hasPrefix("no room; trying again in ")
      })
    try box.patch(Array(#"{"size":"64x64"}"#.utf8))
    #expect(bench.pictureOf(width: 64) != nil)
    try bench.end()
    #expect(maker.log.begun.load(ordering: .relaxed) == 2)
  }

  /// With a painter at work it goes on.
  @Test func wantOfMemoryForAnotherSizeIsToldAndTakenBack() throws {
    let maker = FakeMaker()
    maker.log.room.store(64, ordering: .relaxed)
    let box = try box()
    let bench = Bench(stage(maker, box))
    #expect(bench.pictureOf(width: 64) != nil)
    try box.patch(Array(#"{"size":"128x96"}"#.utf8))
    #expect(
      eventually {
        bench.put(3); return box.current.settings.size.width == 64
      })
    #expect(bench.pictureOf(width: 64) != nil)
    try bench.end()
    #expect(bench.warnings.list.withLock { $0 } == ["no room"])
    #expect(maker.log.made.load(ordering: .relaxed) == 1)
  }

  /// The old painter is let go before another is made, and what happened is told and shown. Also where the picture
  /// that was lost was under way beside another.
  @Test(arguments: [1, 2, 4]) func aLostGPUIsHadAgain(depth: Int) throws {
    let maker = FakeMaker()
    maker.log.depth.store(depth, ordering: .relaxed)
    maker.log.nanoseconds.store(8_000_000, ordering: .relaxed)
    let bench = Bench(stage(maker, try box()))
    #expect(bench.pictureOf(width: 64) != nil)
    maker.log.failures.store(1, ordering: .relaxed)
    maker.log.isLost.store(true, ordering: .relaxed)
    func isTold(_ reason: String) -> Bool {
      guard case .trouble(let text) = bench.link.status.current else { return false }
      return text.hasPrefix("\(reason); trying again in ")
    }
    #expect(
      eventually {
        bench.put(2); return isTold("the GPU is gone")
      })
    #expect(eventually { maker.log.alive.load(ordering: .relaxed) == 0 })
    #expect(eventually { isTold("still gone") })
    #expect(bench.tells("still gone; trying again in 2 s", "still gone; trying again in 1 s"))
    #expect(maker.log.made.load(ordering: .relaxed) == 1)
    #expect(bench.pictureOf(width: 64) != nil)
    #expect(eventually { bench.link.status.current == .live })
    #expect(maker.log.made.load(ordering: .relaxed) == 2)
    try bench.end()
    #expect(bench.warnings.list.withLock { $0 } == ["the GPU is gone"])
    #expect(maker.log.prompts.withLock { $0 } == ["ink", "ink"])
  }

  /// A driver may serve a process that lost its GPU no more: then the run ends, for who started it to start another.
  @Test(arguments: [5, 6]) func aGPUThatDoesNotComeBackEndsTheRun(failures: Int) throws {
    let maker = FakeMaker()
    let bench = Bench(RepaintStage(try box(), PainterLoader(maker), lossPause: 1_000_000))
    #expect(bench.pictureOf(width: 64) != nil)
    maker.log.failures.store(failures, ordering: .relaxed)
    maker.log.isLost.store(true, ordering: .relaxed)
    if failures < 6 {
      #expect(
        eventually {
          bench.put(2); return maker.log.made.load(ordering: .relaxed) == 2
        })
      #expect(bench.pictureOf(width: 64) != nil)
      try bench.end()
    } else {
      bench.put(2)
      #expect(throws: PainterFailure(text: "still gone")) { try bench.join() }
      #expect(maker.log.begun.load(ordering: .relaxed) == 1 + 6)
    }
  }

  /// One that is there again each time and fails at each picture: that one can be begun is no success.
  @Test(arguments: [1, 2]) func aGPUThatPaintsNothingEndsTheRun(depth: Int) throws {
    let maker = FakeMaker()
    maker.log.depth.store(depth, ordering: .relaxed)
    maker.log.isLost.store(true, ordering: .relaxed)
    maker.log.staysLost.store(true, ordering: .relaxed)
    // A frame waits by then, so that the next is begun beside it.
    maker.log.settling.store(20_000_000, ordering: .relaxed)
    let bench = Bench(RepaintStage(try box(), PainterLoader(maker), lossPause: 1_000_000))
    let feeder = try StageThread("feeder") {
      while !bench.link.stop.isSet {
        bench.put(2)
        rest()
      }
    }
    #expect(eventually { bench.outbox.isClosed })
    bench.link.stop.set()
    feeder.join()
    #expect(throws: LostGPU.self) { try bench.join() }
    #expect(maker.log.made.load(ordering: .relaxed) == 1 + 6)
    #expect(bench.warnings.list.withLock { $0 } == ["the GPU is gone"])
  }

  @Test func aLostGPUEndsARunOfEveryFrame() throws {
    let maker = FakeMaker()
    maker.log.isLost.store(true, ordering: .relaxed)
    let bench = Bench(stage(maker, try box()), takesEvery: true)
    bench.put(1)
    #expect(throws: LostGPU.self) { try bench.join() }
  }
}
