import Frames

/// Publishes pictures that say why there is no other, a few a second. Serves one stage thread.
final class NoticePublisher {
  /// Nanoseconds between two notices: outputs that repeat their last picture need no more.
  static let interval: UInt64 = 250_000_000
  /// Nanoseconds without a picture after which a source that seems to be live is reported, and pictures that have
  /// not come by then.
  private static let patience: UInt64 = 1_500_000_000
  private static let missed: UInt64 = 3

  private var pool: FramePool?
  private var lastNotice: UInt64 = 0
  private var lastPicture = Clock.now()

  /// A picture went out, or nobody wanted one.
  func pictureWasShown() { lastPicture = Clock.now() }

  /// Publishes `text`, unless the last notice is too young.
  func show(_ text: String, size: PictureSize, _ link: FilterLink) {
    let now = Clock.now()
    guard !link.takesEvery, link.broadcast.isWanted, now - lastNotice >= Self.interval else { return }
    lastNotice = now
    let format = PictureFormat(.rgb24, width: size.width, height: size.height)
    let byteCount = size.width * size.height * 3
    guard let draft = draft(byteCount, outputs: link.broadcast.mailboxes.count) else { return }
    Notice.draw(
      text, width: size.width, height: size.height,
      into: UnsafeMutableRawBufferPointer(rebasing: draft.bytes[..<byteCount]))
    link.broadcast.publish(draft.finish(format, byteCount: byteCount, sequence: 0))
  }

  /// Says why the source gives no frames, once it is known or has lasted.
  func showAbsence(size: PictureSize, _ link: FilterLink) {
    // A source may rest while nobody watches: its silence counts from the first who does.
    guard link.broadcast.isWanted else { return pictureWasShown() }
    switch link.source.current {
    case .starting(let text): show(text, size: size, link)
    case .waiting(let reason): show(reason, size: size, link)
    case .live:
      let silence = Clock.now() - lastPicture
      let interval = link.source.interval.load(ordering: .relaxed)
      guard silence >= max(Self.patience, Self.missed * interval) else { return }
      show("no frames for \(silence / 1_000_000_000) s", size: size, link)
    case .ended: break
    }
  }

  private func draft(_ byteCount: Int, outputs: Int) -> Draft? {
    if pool?.capacity != byteCount { pool = FramePool(count: FramePool.count(outputs), capacity: byteCount) }
    return pool?.take()
  }
}

extension FramePool {
  /// Buffers that never run out: every output may hold one in its mailbox, one it works on and one it
  /// repeats, beside the one being written.
  static func count(_ outputs: Int) -> Int { 3 * outputs + 2 }
}
