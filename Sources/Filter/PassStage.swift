import Frames

/// No model: every picture goes through as it came, a JPEG undecoded; or it is mirrored, and then goes on raw.
public final class PassStage: FilterStage {
  private let mirror: Mirror?

  public init(mirror: Bool = false) { self.mirror = mirror ? Mirror() : nil }

  public func run(_ link: FilterLink) throws {
    link.status.set(.live)
    let notices = NoticePublisher()
    // Until the first frame nobody knows the camera's size.
    var size = PictureSize(width: 640, height: 480)
    while !link.isOver {
      link.mailbox.isWanted = link.broadcast.isWanted
      let wasClosed = link.mailbox.isClosed
      guard let frame = link.mailbox.take(timeout: NoticePublisher.interval) else {
        if wasClosed { break }
        notices.showAbsence(size: size, link)
        continue
      }
      size = PictureSize(width: frame.format.width, height: frame.format.height)
      if let mirror, link.broadcast.isWanted {
        guard show(frame, mirror, link) else {
          notices.showAbsence(size: size, link)
          continue
        }
      } else if link.broadcast.isWanted {
        link.publish(frame)
      }
      notices.pictureWasShown()
    }
  }

  /// False where the frame is damaged.
  private func show(_ frame: borrowing Frame, _ mirror: Mirror, _ link: FilterLink) -> Bool {
    do {
      if let mirrored = try mirror.mirror(frame, outputs: link.broadcast.mailboxes.count) {
        link.publish(mirrored)
      } else {
        link.counters.starved.wrappingAdd(1, ordering: .relaxed)
      }
      return true
    } catch {
      link.counters.corrupt.wrappingAdd(1, ordering: .relaxed)
      return false
    }
  }
}

/// Left becomes right. Raw pictures keep their layout, JPEGs become 4:2:0. One thread's.
private final class Mirror: @unchecked Sendable {
  private var converter: PictureConverter?
  private var pool: FramePool?

  /// nil where all buffers are out. Throws `FrameError`.
  func mirror(_ frame: borrowing Frame, outputs: Int) throws -> Frame? {
    let target = Self.target(frame.format)
    if converter?.target != target {
      converter = try PictureConverter(to: target, fit: .cover, mirror: true)
    }
    guard let converter, let byteCount = target.pixels.byteCount(width: target.width, height: target.height)
    else { return nil }
    if pool.map({ $0.capacity < byteCount }) ?? true {
      pool = FramePool(count: FramePool.count(outputs), capacity: byteCount)
    }
    guard let draft = pool?.take() else { return nil }
    try converter.convert(frame.bytes, frame.format, into: draft.bytes)
    draft.stamps = frame.stamps
    return draft.finish(target, byteCount: byteCount, sequence: frame.sequence)
  }

  private static func target(_ format: PictureFormat) -> PictureFormat {
    guard format.pixels == .jpeg else { return format }
    // 4:2:0 has even sides.
    let isEven = format.width % 2 == 0 && format.height % 2 == 0
    return PictureFormat(isEven ? .i420 : .rgb24, width: format.width, height: format.height)
  }
}
