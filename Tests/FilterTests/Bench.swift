import Filter
import Frames
import Glibc
import Synchronization
import TestSupport
import Testing

/// A filter stage on its thread, with a hand at each end.
final class Bench: Sendable {
  let link: FilterLink
  let outbox: Mailbox
  let warnings = Warnings()
  private let thread: StageThread
  private let failure: Failure
  private let pool = FramePool(count: 8, capacity: 64 * 64 * 3)

  init(_ stage: any FilterStage, takesEvery: Bool = false, limit: Int? = nil) {
    let (outbox, failure, warnings) = (Mailbox(takesEvery ? .every : .newest), Failure(), self.warnings)
    let link = FilterLink(
      mailbox: Mailbox(takesEvery ? .every : .newest), broadcast: Broadcast([outbox]),
      source: InputStatus(.live),
      status: FilterStatus(.loading("loading model", 0)), counters: Counters(), statistics: Statistics(),
      stop: StopFlag(), takesEvery: takesEvery, limit: limit,
      tell: { warning in warnings.list.withLock { $0.append(warning) } },
      takeBack: { warning in warnings.list.withLock { $0.removeAll { $0 == warning } } })
    (self.outbox, self.failure, self.link) = (outbox, failure, link)
    thread = try! StageThread("filter") {
      do { try stage.run(link) } catch { failure.error.withLock { $0 = error } }
      outbox.close()
    }
  }

  /// Gives any bytes as a picture. There are more buffers than mailbox and stage hold; a test would wait for
  /// a picture that was left out.
  func put(_ bytes: [UInt8], _ format: PictureFormat, sequence: UInt64) {
    guard let draft = pool.take() else {
      Issue.record("no buffer is free for picture \(sequence)")
      return
    }
    draft.bytes.copyBytes(from: bytes)
    link.mailbox.put(draft.finish(format, byteCount: bytes.count, sequence: sequence))
  }

  /// Gives a grey picture of 64 by 64.
  func put(_ grey: UInt8, sequence: UInt64 = 1) {
    let bytes = [UInt8](repeating: grey, count: pool.capacity)
    put(bytes, PictureFormat(.rgb24, width: 64, height: 64), sequence: sequence)
  }

  /// What comes out next, waiting so many nanoseconds.
  func next(_ timeout: UInt64 = 10_000_000_000) -> Picture? {
    guard let frame = outbox.take(timeout: timeout) else { return nil }
    return Picture(frame)
  }

  /// The next repainted picture; notices have sequence 0 and are passed over. nil where none comes: a stage
  /// that paints nothing still gives notices.
  func picture() -> Picture? {
    let deadline = Clock.now() + 20_000_000_000
    while case let now = Clock.now(), now < deadline, let picture = next(deadline - now) {
      if picture.sequence > 0 { return picture }
    }
    return nil
  }

  /// Whether a notice of 64 by 64 says one of `texts` before long; other pictures are passed over. Meanwhile
  /// frames as grey as `feeding` are put, where it is given.
  func tells(_ texts: String..., feeding grey: UInt8? = nil) -> Bool {
    let wanted = texts.map { text in
      var bytes = [UInt8](repeating: 0, count: pool.capacity)
      bytes.withUnsafeMutableBytes { Notice.draw(text, width: 64, height: 64, into: $0) }
      return bytes
    }
    return eventually {
      if let grey { put(grey) }
      guard let picture = next(1_000_000), picture.sequence == 0 else { return false }
      return wanted.contains(picture.bytes)
    }
  }

  /// Feeds until the stage gives a picture of `width`.
  func pictureOf(width: Int, _ grey: UInt8 = 10) -> Picture? {
    for _ in 0..<2000 {
      put(grey)
      if let picture = next(20_000_000), picture.sequence > 0, picture.format.width == width {
        return picture
      }
    }
    return nil
  }

  /// Ends the stage; throws what ended it.
  func end() throws {
    link.stop.set()
    link.mailbox.close()
    try join()
  }

  /// Waits for the stage's own end.
  func join() throws {
    thread.join()
    if let error = failure.error.withLock({ $0 }) { throw error }
  }

  final class Failure: Sendable {
    let error = Mutex<(any Error)?>(nil)
  }
  final class Warnings: Sendable {
    let list = Mutex<[String]>([])
  }
}

/// A frame's contents, to be looked at in peace.
struct Picture: Sendable {
  let format: PictureFormat
  let sequence: UInt64
  let stamps: Stamps
  let bytes: [UInt8]
  init(_ frame: borrowing Frame) {
    (format, sequence, stamps, bytes) = (frame.format, frame.sequence, frame.stamps, Array(frame.bytes))
  }
}

/// Lets other threads work for a millisecond.
func rest() {
  var time = timespec(tv_sec: 0, tv_nsec: 1_000_000)
  nanosleep(&time, nil)
}

func box() throws -> SettingsBox { SettingsBox(try SettingsTests.settings()) }

func stage(_ maker: FakeMaker, _ box: SettingsBox) -> RepaintStage { RepaintStage(box, PainterLoader(maker)) }
