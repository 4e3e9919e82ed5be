import Frames
import Glibc
import Testing

@Suite struct FramePoolTests {
  private let format = PictureFormat(.rgb24, width: 2, height: 2)

  @Test func anEmptyPoolGivesNothingUntilABufferComesHome() throws {
    let pool = FramePool(count: 2, capacity: 12)
    do {
      let first = try need(pool.take())
      let second = try need(pool.take())
      #expect(!canTake(pool))
      #expect(pool.available == 0)
      let frame = first.finish(format, byteCount: 12, sequence: 1)
      let share = frame.share()
      _ = consume frame
      #expect(pool.available == 0)
      #expect(share.sequence == 1)
      _ = consume share
      #expect(pool.available == 1)
      _ = consume second
    }
    #expect(pool.available == 2)
  }

  @Test func aDraftThatIsNeverFinishedGivesItsBufferBack() throws {
    let pool = FramePool(count: 1, capacity: 12)
    for _ in 0..<10 {
      #expect(canTake(pool))
    }
    #expect(pool.available == 1)
  }

  @Test func buffersAreAlignedAndDistinct() throws {
    let pool = FramePool(count: 3, capacity: 100)
    let a = try need(pool.take())
    let b = try need(pool.take())
    #expect(Int(bitPattern: a.bytes.baseAddress) % 64 == 0 && a.bytes.count == 100)
    #expect(a.bytes.baseAddress != b.bytes.baseAddress)
  }

  @Test func aNewDraftKnowsNothingOfTheOldFrame() throws {
    let pool = FramePool(count: 1, capacity: 12)
    do {
      let draft = try need(pool.take())
      draft.stamps.pass(.captured)
      let frame = draft.finish(format, byteCount: 12, sequence: 9)
      #expect(frame.stamps[.captured] > 0)
    }
    let draft = try need(pool.take())
    #expect(draft.stamps[.captured] == 0)
  }

  @Test func sharesHaveStampsOfTheirOwn() throws {
    let pool = FramePool(count: 1, capacity: 12)
    var frame = try need(pool.take()).finish(format, byteCount: 5, sequence: 3)
    frame.stamps[.published] = 10
    var share = frame.share()
    share.stamps[.written] = 20
    #expect(frame.stamps[.written] == 0 && share.stamps[.published] == 10)
    #expect(share.format == format && share.bytes.count == 5)
  }

  /// Buffers outlive their pool while somebody holds one.
  @Test func aFrameMayOutliveItsPool() throws {
    var pool: FramePool? = FramePool(count: 1, capacity: 12)
    let draft = try need(pool!.take())
    draft.bytes.initializeMemory(as: UInt8.self, repeating: 77)
    let frame = draft.finish(format, byteCount: 12, sequence: 1)
    pool = nil
    #expect(frame.bytes.allSatisfy { $0 == 77 })
  }

  @Test func leasesFromManyThreadsAllComeHome() throws {
    let pool = FramePool(count: 4, capacity: 64)
    let format = format
    let threads = try (0..<4).map { index in
      try StageThread("lease \(index)") {
        for number in 0..<2000 {
          guard let draft = pool.take() else { continue }
          draft.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(index))
          let frame = draft.finish(format, byteCount: 64, sequence: UInt64(number))
          let share = frame.share()
          _ = consume frame
          precondition(share.bytes.allSatisfy { $0 == UInt8(index) })
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(pool.available == 4)
  }
}

/// Whether a buffer is free; it is given back at once.
private func canTake(_ pool: FramePool) -> Bool {
  guard let draft = pool.take() else { return false }
  return draft.bytes.count == pool.capacity
}
