import Frames

/// No model: every picture goes through as it came, a JPEG undecoded.
public final class PassStage: FilterStage {
  public init() {}

  public func run(_ link: FilterLink) throws {
    link.status.set(.live)
    let notices = NoticePublisher()
    // Until the first frame nobody knows the camera's size.
    var size = PictureSize(width: 640, height: 480)
    while !link.isOver {
      link.mailbox.isWanted = link.broadcast.isWanted
      guard let frame = link.mailbox.take(timeout: NoticePublisher.interval) else {
        if link.mailbox.isClosed { break }
        notices.showAbsence(size: size, link)
        continue
      }
      size = PictureSize(width: frame.format.width, height: frame.format.height)
      notices.pictureWasShown()
      if link.broadcast.isWanted { link.publish(frame) }
    }
  }
}
