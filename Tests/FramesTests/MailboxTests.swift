import Base
import Frames
import Glibc
import Synchronization
import Testing

/// A small frame that says its number in `sequence` and in each of its bytes.
private func frame(_ number: Int, of pool: FramePool) -> Frame? {
  guard let draft = pool.take() else { return nil }
  draft.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: number))
  return draft.finish(PictureFormat(.rgb24, width: 4, height: 4), byteCount: 48, sequence: UInt64(number))
}

/// Puts a frame, waiting for a free buffer; false where the mailbox closed first.
private func put(_ number: Int, _ pool: FramePool, _ mailbox: Mailbox) -> Bool {
  while !mailbox.isClosed {
    if let frame = frame(number, of: pool) {
      mailbox.put(frame)
      return true
    }
    sched_yield()
  }
  return false
}

@Suite struct MailboxTests {
  private func take(_ mailbox: Mailbox, timeout: UInt64? = nil) -> UInt64? {
    guard let frame = mailbox.take(timeout: timeout) else { return nil }
    return frame.sequence
  }

  @Test func theNewestFrameReplacesAnOlderOne() throws {
    let pool = FramePool(count: 4, capacity: 48)
    let mailbox = Mailbox()
    for number in 1...3 { #expect(put(number, pool, mailbox)) }
    #expect(mailbox.dropped == 2)
    #expect(pool.available == 3)
    #expect(take(mailbox) == 3)
    #expect(take(mailbox, timeout: 1_000_000) == nil)
    #expect(pool.available == 4)
  }

  @Test func anEmptyMailboxWaitsForItsFrame() throws {
    let pool = FramePool(count: 2, capacity: 48)
    let mailbox = Mailbox()
    let readerBox = Lock<UInt64?>(nil)
    let thread = try StageThread("reader") {
      let frame = mailbox.take()
      if let frame { readerBox.withLock { $0 = frame.sequence } }
    }
    usleep(20_000)
    #expect(put(7, pool, mailbox))
    thread.join()
    #expect(readerBox.withLock { $0 } == 7)
  }

  @Test func closingWakesReadersAndWriters() throws {
    let pool = FramePool(count: 4, capacity: 48)
    let empty = Mailbox()
    let reader = try StageThread("reader") { _ = empty.take() }
    let full = Mailbox(.every)
    #expect(put(1, pool, full))
    let writer = try StageThread("writer") { _ = put(2, pool, full) }
    usleep(20_000)
    empty.close()
    full.close()
    reader.join()
    writer.join()
    // What was there may still be fetched; what came too late is gone, and its buffer is home.
    #expect(take(full) == 1)
    #expect(take(full) == nil)
    #expect(pool.available == 4)
    #expect(put(3, pool, Mailbox()))
    #expect(empty.isClosed)
  }

  @Test func nothingIsTakenInAfterTheEnd() throws {
    let pool = FramePool(count: 2, capacity: 48)
    let mailbox = Mailbox()
    mailbox.close()
    mailbox.put(try need(frame(1, of: pool)))
    #expect(take(mailbox) == nil)
    #expect(mailbox.dropped == 0)
    #expect(pool.available == 2)
  }

  @Test func everyFrameComesInOrderWhereNoneMayBeLost() throws {
    let pool = FramePool(count: 3, capacity: 48)
    let mailbox = Mailbox(.every)
    let count = 2000
    let writer = try StageThread("writer") {
      for number in 0..<count { _ = put(number, pool, mailbox) }
      mailbox.close()
    }
    var got: [UInt64] = []
    while let frame = mailbox.take() {
      #expect(frame.bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: frame.sequence) })
      got.append(frame.sequence)
    }
    writer.join()
    #expect(got == (0..<UInt64(count)).map { $0 })
    #expect(mailbox.dropped == 0)
    #expect(pool.available == 3)
  }

  /// Frames only ever get newer, none is torn, and taken plus dropped is what was put.
  @Test func whatIsTakenAndDroppedIsWhatWasPut() throws {
    let pool = FramePool(count: 4, capacity: 48)
    let mailbox = Mailbox()
    let count = 5000
    let writer = try StageThread("writer") {
      for number in 0..<count { _ = put(number, pool, mailbox) }
      mailbox.close()
    }
    var last = -1
    var taken = 0
    while let frame = mailbox.take() {
      let number = Int(frame.sequence)
      #expect(number > last)
      #expect(frame.bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: number) })
      last = number
      taken += 1
      if taken % 3 == 0 { sched_yield() }
    }
    writer.join()
    #expect(last == count - 1)
    #expect(taken + mailbox.dropped == count)
    #expect(pool.available == 4)
  }

  /// One writer, three readers of shared frames at their own speeds: no buffer is written while one reads it.
  @Test func sharesOfABroadcastAreNeverTorn() throws {
    let pool = FramePool(count: 10, capacity: 48)
    let broadcast = Broadcast((0..<3).map { _ in Mailbox() })
    let torn = Box(Atomic<Int>(0))
    let readers = try broadcast.mailboxes.enumerated().map { index, mailbox in
      try StageThread("reader \(index)") {
        var last: UInt64 = 0
        while let frame = mailbox.take() {
          let isWhole = frame.bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: frame.sequence) }
          for _ in 0..<index { sched_yield() }
          let isStillWhole = frame.bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: frame.sequence) }
          if !isWhole || !isStillWhole || frame.sequence < last || frame.stamps[.published] == 0 {
            torn.value.add(1, ordering: .relaxed)
          }
          last = frame.sequence
        }
      }
    }
    for number in 1...3000 {
      while true {
        if let frame = frame(number, of: pool) {
          broadcast.publish(frame)
          break
        }
        sched_yield()
      }
    }
    broadcast.close()
    for reader in readers { reader.join() }
    #expect(torn.value.load(ordering: .relaxed) == 0)
    #expect(pool.available == 10)
  }

  @Test func unwantedOutputsGetNothing() throws {
    let pool = FramePool(count: 4, capacity: 48)
    let broadcast = Broadcast([Mailbox(), Mailbox()])
    broadcast.mailboxes[0].isWanted = false
    #expect(broadcast.isWanted)
    broadcast.publish(try need(frame(5, of: pool)))
    #expect(take(broadcast.mailboxes[0], timeout: 1_000_000) == nil)
    #expect(take(broadcast.mailboxes[1], timeout: 1_000_000) == 5)
    broadcast.mailboxes[1].isWanted = false
    #expect(!broadcast.isWanted)
  }
}

/// Carries what cannot be copied into a thread.
private final class Box<Value: ~Copyable & Sendable>: Sendable {
  let value: Value
  init(_ value: consuming Value) { self.value = value }
}
