import Filter
import Frames
import Glibc
import Synchronization

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
      mailbox: Mailbox(takesEvery ? .every : .newest), broadcast: Broadcast([outbox]), source: StatusBoard(.live),
      status: FilterStatus(.loading("loading model", 0)), counters: Counters(), statistics: Statistics(),
      stop: StopFlag(), takesEvery: takesEvery, limit: limit,
      tell: { warning in warnings.list.withLock { $0.append(warning) } })
    (self.outbox, self.failure, self.link) = (outbox, failure, link)
    thread = StageThread("filter") {
      do { try stage.run(link) } catch { failure.error.withLock { $0 = error } }
      outbox.close()
    }
  }

  /// Gives a grey picture of 64 by 64.
  func put(_ grey: UInt8, sequence: UInt64 = 1) {
    guard let draft = pool.take() else { return }
    draft.bytes.initializeMemory(as: UInt8.self, repeating: grey)
    link.mailbox.put(
      draft.finish(PictureFormat(.rgb24, width: 64, height: 64), byteCount: draft.bytes.count, sequence: sequence))
  }

  /// The next repainted picture; notices have sequence 0 and are passed over.
  func picture() -> Frame? {
    while let frame = outbox.take(timeout: 10_000_000_000) {
      if frame.sequence > 0 { return frame }
    }
    return nil
  }

  /// Feeds until the stage gives a picture of `width`.
  func pictureOf(width: Int, _ grey: UInt8 = 10) -> Frame? {
    for _ in 0..<2000 {
      put(grey)
      if let frame = outbox.take(timeout: 20_000_000), frame.sequence > 0, frame.format.width == width {
        return frame
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

/// Lets other threads work for a millisecond.
func pause() {
  var time = timespec(tv_sec: 0, tv_nsec: 1_000_000)
  nanosleep(&time, nil)
}

/// Waits, at most ten seconds, until something holds.
func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<10_000 {
    if condition() { return true }
    pause()
  }
  return false
}
