import Filter
import Frames
import TestSupport
import Testing

@Suite struct RepaintStageTests {
  @Test func aFrameComesOutRepainted() throws {
    let maker = FakeMaker()
    let bench = Bench(stage(maker, try box()))
    let frame = try #require(bench.pictureOf(width: 64, 10))
    #expect(frame.format == PictureFormat(.rgb24, width: 64, height: 64))
    #expect(frame.bytes.allSatisfy { $0 == 245 })
    #expect(frame.stamps[.prepared] > 0)
    #expect(frame.stamps[.repainted] >= frame.stamps[.prepared])
    #expect(frame.stamps[.published] >= frame.stamps[.repainted])
    try bench.end()
    #expect(maker.log.prompts.withLock { $0 } == ["ink"])
  }

  @Test func aNoticeIsShownWhileTheModelLoads() throws {
    let maker = FakeMaker(open: false)
    let bench = Bench(stage(maker, try box()))
    let notice = try #require(bench.next())
    #expect(notice.sequence == 0)
    #expect(notice.format == PictureFormat(.rgb24, width: 64, height: 64))
    #expect(eventually { bench.link.status.current == .loading("loading fake", 0.43) })
    #expect(bench.tells("loading fake 43%"))
    maker.isOpen.store(true, ordering: .relaxed)
    #expect(bench.pictureOf(width: 64) != nil)
    #expect(eventually { bench.link.status.current == .live })
    try bench.end()
  }

  @Test func aWaitingSourceIsTold() throws {
    let maker = FakeMaker()
    let bench = Bench(stage(maker, try box()))
    bench.link.source.set(.waiting("camera unplugged"))
    #expect(eventually { bench.link.status.current == .live })
    #expect(bench.tells("camera unplugged"))
    #expect(maker.log.runs.load(ordering: .relaxed) == 0)
    try bench.end()
  }

  /// A camera is missed soon; between two slides nobody is.
  @Test(arguments: [0, 30_000_000_000 as UInt64]) func onlyASilenceThatIsNotMeantIsTold(_ interval: UInt64)
    throws
  {
    let bench = Bench(stage(FakeMaker(), try box()))
    bench.link.source.interval.store(interval, ordering: .relaxed)
    #expect(bench.pictureOf(width: 64) != nil)
    while bench.next(100_000_000)?.sequence ?? 0 > 0 {}
    let notice = bench.next(interval == 0 ? 20_000_000_000 : 3_000_000_000)
    #expect(notice?.sequence == (interval == 0 ? 0 : nil))
    try bench.end()
  }

  @Test func nothingIsRepaintedThatNobodyWants() throws {
    let maker = FakeMaker()
    let bench = Bench(stage(maker, try box()))
    #expect(bench.pictureOf(width: 64) != nil)
    bench.outbox.isWanted = false
    // One more may be under way.
    bench.put(1)
    #expect(eventually { bench.link.mailbox.take(timeout: 0) == nil })
    let runs = maker.log.runs.load(ordering: .relaxed)
    for _ in 0..<20 {
      bench.put(1)
      rest()
    }
    #expect(maker.log.runs.load(ordering: .relaxed) <= runs + 1)
    try bench.end()
  }

  @Test func anotherSizeIsMadeBesideTheRunningOneAndSwappedIn() throws {
    let maker = FakeMaker()
    let box = try box()
    let bench = Bench(stage(maker, box))
    #expect(bench.pictureOf(width: 64) != nil)
    try box.patch(Array(#"{"size":"128x96","prompt":"oil"}"#.utf8))
    let frame = try #require(bench.pictureOf(width: 128))
    #expect(frame.format.height == 96)
    try bench.end()
    // Twice where the old painter had a picture to paint meanwhile.
    #expect([["ink", "oil"], ["ink", "oil", "oil"]].contains(maker.log.prompts.withLock { $0 }))
  }

  /// While another size is made, everything else that was asked for acts on the pictures of the old one.
  @Test func otherSettingsActMeanwhile() throws {
    let maker = FakeMaker()
    let box = try box()
    let bench = Bench(stage(maker, box))
    #expect(bench.pictureOf(width: 64) != nil)
    maker.isOpen.store(false, ordering: .relaxed)
    try box.patch(Array(#"{"size":"128x96"}"#.utf8))
    try box.patch(Array(#"{"prompt":"oil"}"#.utf8))
    #expect(
      eventually {
        bench.put(1); return maker.log.prompts.withLock { $0 } == ["ink", "oil"]
      })
    #expect(bench.pictureOf(width: 64) != nil)
    maker.isOpen.store(true, ordering: .relaxed)
    #expect(bench.pictureOf(width: 128) != nil)
    try bench.end()
    #expect(maker.log.prompts.withLock { $0 } == ["ink", "oil", "oil"])
  }

  /// A size that is given up before it is made leaves nothing behind: neither its painter nor what was wrong with it.
  @Test(arguments: ["128x96", "512x512"]) func whatNobodyWantsAnyMoreIsLetGo(size: String) throws {
    let maker = FakeMaker()
    let box = try box()
    let bench = Bench(stage(maker, box))
    #expect(bench.pictureOf(width: 64) != nil)
    maker.isOpen.store(false, ordering: .relaxed)
    try box.patch(Array("{\"size\":\"\(size)\"}".utf8))
    #expect(
      eventually {
        bench.put(1); return maker.log.begun.load(ordering: .relaxed) == 2
      })
    try box.patch(Array(#"{"size":"64x64","prompt":"oil"}"#.utf8))
    #expect(
      eventually {
        bench.put(1); return maker.log.prompts.withLock { $0 } == ["ink", "oil"]
      })
    maker.isOpen.store(true, ordering: .relaxed)
    // Another one can be had at once, and is made by itself.
    try box.patch(Array(#"{"size":"96x96"}"#.utf8))
    #expect(bench.pictureOf(width: 96) != nil)
    #expect(eventually { maker.log.alive.load(ordering: .relaxed) == 1 })
    #expect(box.current.settings.size.width == 96)
    try bench.end()
    #expect(bench.warnings.list.withLock { $0 } == [])
  }

  /// The next one may need its memory: beside it there is the painter at work alone.
  @Test func whatNobodyWantsIsGoneBeforeAnotherIsMade() throws {
    let maker = FakeMaker()
    let box = try box()
    let bench = Bench(stage(maker, box))
    #expect(bench.pictureOf(width: 64) != nil)
    maker.isOpen.store(false, ordering: .relaxed)
    try box.patch(Array(#"{"size":"128x96"}"#.utf8))
    #expect(
      eventually {
        bench.put(1); return maker.log.begun.load(ordering: .relaxed) == 2
      })
    try box.patch(Array(#"{"size":"96x96","prompt":"oil"}"#.utf8))
    #expect(
      eventually {
        bench.put(1); return maker.log.prompts.withLock { $0 } == ["ink", "oil"]
      })
    maker.log.dying.store(100_000_000, ordering: .relaxed)
    maker.isOpen.store(true, ordering: .relaxed)
    #expect(bench.pictureOf(width: 96) != nil)
    try bench.end()
    #expect(maker.log.crowd.load(ordering: .relaxed) == 1)
    #expect(maker.log.begun.load(ordering: .relaxed) == 3)
  }

  @Test func settingsThatCannotBeHadAreTakenBack() throws {
    let maker = FakeMaker()
    let box = try box()
    let bench = Bench(stage(maker, box))
    #expect(bench.pictureOf(width: 64) != nil)
    try box.patch(Array(#"{"size":"512x512"}"#.utf8))
    #expect(
      eventually {
        bench.put(3); return box.current.settings.size.width == 64
      })
    #expect(bench.pictureOf(width: 64) != nil)
    try bench.end()
    #expect(bench.warnings.list.withLock { $0 } == ["too wide"])
  }

  @Test func aModelThatCannotBeMadeEndsTheRun() throws {
    let box = SettingsBox(try SettingsTests.settings(width: 512, height: 512))
    let bench = Bench(stage(FakeMaker(), box))
    #expect(throws: PainterFailure.self) { try bench.join() }
  }

  @Test func whatGoesWrongIsShownAndPasses() throws {
    let maker = FakeMaker()
    let bench = Bench(stage(maker, try box()))
    #expect(bench.pictureOf(width: 64) != nil)
    maker.log.fails.store(true, ordering: .relaxed)
    #expect(
      eventually {
        bench.put(2); return bench.link.status.current == .trouble("no memory")
      })
    #expect(bench.tells("no memory", feeding: 2))
    maker.log.fails.store(false, ordering: .relaxed)
    #expect(bench.pictureOf(width: 64) != nil)
    #expect(eventually { bench.link.status.current == .live })
    try bench.end()
  }

  /// Each input beside what was painted of it, also where several are under way.
  @Test(arguments: [1, 3]) func theInputIsShownBesideThePainted(depth: Int) throws {
    let maker = FakeMaker()
    maker.log.depth.store(depth, ordering: .relaxed)
    let box = try box()
    try box.patch(Array(#"{"compare":true}"#.utf8))
    let bench = Bench(stage(maker, box), takesEvery: true)
    let feeder = try StageThread("feeder") {
      for number in 1...20 as ClosedRange<UInt64> { bench.put(UInt8(number), sequence: number) }
      bench.link.mailbox.close()
    }
    var count = 0
    while let picture = bench.picture() {
      let grey = UInt8(picture.sequence)
      let line = [UInt8](repeating: grey, count: 64 * 3) + [UInt8](repeating: 255 - grey, count: 64 * 3)
      #expect(picture.format == PictureFormat(.rgb24, width: 128, height: 64))
      #expect(picture.bytes == Array(repeatElement(line, count: 64).joined()))
      count += 1
    }
    feeder.join()
    try bench.join()
    #expect(count == 20)
  }

  @Test func comparingIsASettingLikeOthers() throws {
    let box = try box()
    let bench = Bench(stage(FakeMaker(), box))
    #expect(bench.pictureOf(width: 64) != nil)
    try box.patch(Array(#"{"compare":true}"#.utf8))
    #expect(bench.pictureOf(width: 128) != nil)
    try box.patch(Array(#"{"compare":false}"#.utf8))
    #expect(bench.pictureOf(width: 64) != nil)
    try bench.end()
  }

  /// A camera's noise is averaged away where that is wanted.
  @Test func aStillPictureIsSteadied() throws {
    let box = SettingsBox(try SettingsTests.settings(steady: 0.8))
    let bench = Bench(stage(FakeMaker(), box), takesEvery: true)
    var random: UInt32 = 1
    let format = PictureFormat(.rgb24, width: 64, height: 64)
    var (fed, last): ([UInt8], [UInt8]) = ([], [])
    var sequence: UInt64 = 0
    /// How much the picture changes between the last two of so many frames.
    func flicker(_ count: Int) throws -> Int {
      var change = 0
      for _ in 0..<count {
        sequence += 1
        fed = (0..<64 * 64 * 3).map { _ in
          random = random &* 1_664_525 &+ 1_013_904_223
          return UInt8(120 + (random >> 24) % 12)
        }
        bench.put(fed, format, sequence: sequence)
        let picture = try #require(bench.picture()).bytes
        change = last.isEmpty ? 0 : zip(picture, last).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
        last = picture
      }
      return change
    }
    let steady = try flicker(20)
    try box.patch(Array(#"{"steady":0}"#.utf8))
    let plain = try flicker(3)
    #expect(last == fed.map { 255 - $0 })
    #expect(steady * 4 < plain, "\(steady) and \(plain)")
    try box.patch(Array(#"{"steady":0.8}"#.utf8))
    #expect(try flicker(20) * 4 < plain)
    try bench.end()
  }

  /// What looks like the picture before is shown again; also where two are under way.
  @Test(arguments: [1, 2]) func aStillPictureIsPaintedOnce(depth: Int) throws {
    let maker = FakeMaker()
    maker.log.depth.store(depth, ordering: .relaxed)
    let box = SettingsBox(try SettingsTests.settings(still: 2))
    let bench = Bench(stage(maker, box))
    var sequence: UInt64 = 1
    /// The picture of so grey a frame, and how many were painted for it.
    func picture(of grey: UInt8) throws -> (grey: UInt8, runs: Int) {
      let before = maker.log.runs.load(ordering: .relaxed)
      sequence += 1
      bench.put(grey, sequence: sequence)
      var picture = try #require(bench.picture())
      // What was fed before may still be on its way.
      while picture.sequence != sequence { picture = try #require(bench.picture()) }
      #expect(Set(picture.bytes).count == 1)
      return (picture.bytes[0], maker.log.runs.load(ordering: .relaxed) - before)
    }
    #expect(bench.pictureOf(width: 64, 40) != nil)
    #expect(try picture(of: 40) == (215, 0))
    #expect(try picture(of: 41) == (215, 0))
    // Little by little, so beside the last painted.
    #expect(try picture(of: 42) == (213, 1))
    #expect(try picture(of: 43) == (213, 0))
    #expect(bench.link.counters.still.load(ordering: .relaxed) >= 3)
    try box.patch(Array(#"{"prompt":"oil"}"#.utf8))
    #expect(eventually { (try? picture(of: 43))?.grey == 212 })
    try box.patch(Array(#"{"still":0}"#.utf8))
    #expect(eventually { (try? picture(of: 43))?.runs == 1 })
    #expect(try picture(of: 43) == (212, 1))
    try bench.end()
  }

  /// What could not be painted is no picture to show again.
  @Test func aStillPictureThatFailedIsTriedAgain() throws {
    let maker = FakeMaker()
    let bench = Bench(stage(maker, SettingsBox(try SettingsTests.settings(still: 2))))
    #expect(bench.pictureOf(width: 64, 40) != nil)
    maker.log.fails.store(true, ordering: .relaxed)
    bench.put(90)
    #expect(eventually { bench.link.status.current == .trouble("no memory") })
    maker.log.fails.store(false, ordering: .relaxed)
    #expect(eventually { bench.pictureOf(width: 64, 90)?.bytes[0] == 165 })
    try bench.end()
  }

  /// Also where the last picture was under way and another frame comes right after it.
  @Test func theLimitHoldsForWhatIsUnderWay() throws {
    let maker = FakeMaker()
    maker.log.depth.store(2, ordering: .relaxed)
    maker.log.nanoseconds.store(30_000_000, ordering: .relaxed)
    let bench = Bench(stage(maker, try box()), limit: 3)
    func isOut(_ count: Int) -> Bool {
      eventually { bench.link.counters.framesOut.load(ordering: .relaxed) >= count }
    }
    #expect(eventually { bench.link.status.current == .live })
    bench.put(10)
    #expect(eventually { maker.log.most.load(ordering: .relaxed) > 0 })
    bench.put(60)
    #expect(isOut(1))
    rest()
    bench.put(110)
    #expect(isOut(3))
    bench.put(160)
    try bench.join()
    #expect(bench.link.counters.framesOut.load(ordering: .relaxed) == 3)
  }

  @Test func theLimitEndsTheRun() throws {
    let bench = Bench(stage(FakeMaker(), try box()), takesEvery: true, limit: 3)
    let feeder = try StageThread("feeder") {
      for number in 1...9 as ClosedRange<UInt64> { bench.put(1, sequence: number) }
    }
    var count = 0
    while bench.picture() != nil { count += 1 }
    try bench.join()
    bench.link.mailbox.close()
    feeder.join()
    #expect(count == 3)
  }

  @Test func aCorruptPictureIsCountedAndLeftOut() throws {
    let bench = Bench(stage(FakeMaker(), try box()))
    #expect(bench.pictureOf(width: 64) != nil)
    bench.put(
      [UInt8](repeating: 0xAA, count: 200), PictureFormat(.jpeg, width: 64, height: 64), sequence: 5)
    #expect(eventually { bench.link.counters.corrupt.load(ordering: .relaxed) == 1 })
    #expect(bench.pictureOf(width: 64) != nil)
    try bench.end()
  }

  @Test func warningsReachThePerson() throws {
    let box = try box()
    let bench = Bench(stage(FakeMaker(), box))
    try box.patch(Array(#"{"prompt":""}"#.utf8))
    #expect(bench.pictureOf(width: 64) != nil)
    #expect(
      eventually {
        bench.put(1); return bench.warnings.list.withLock { $0 } == ["the prompt is empty"]
      })
    // Once, until it is no longer so.
    try box.patch(Array(#"{"strength":0.75}"#.utf8))
    #expect(bench.pictureOf(width: 64) != nil)
    #expect(bench.warnings.list.withLock { $0 } == ["the prompt is empty"])
    try box.patch(Array(#"{"prompt":"oil"}"#.utf8))
    #expect(
      eventually {
        bench.put(1); return bench.warnings.list.withLock { $0 } == []
      })
    try bench.end()
  }
}
