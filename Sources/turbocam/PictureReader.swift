import Frames
import Inputs

/// The pictures of a file, camera or stream one after the other, as fast as they are asked for.
final class PictureReader {
  private let link = InputLink(
    mailbox: Mailbox(.every), status: InputStatus(), counters: Counters(), stop: StopFlag())
  private let failure = Failure()
  private let thread: StageThread
  private var isFirst = true

  /// Nanoseconds that something may be the matter before the first picture: a camera may need some seconds.
  private static let patience: UInt64 = 5_000_000_000
  private static let glance: UInt64 = 100_000_000

  init(_ spec: InputSpec) throws {
    let source = try Source.make(spec, options: SourceOptions(realTime: false))
    thread = try StageThread("input") { [link, failure] in
      do { try source.run(link) } catch { failure.set(error) }
      link.mailbox.close()
    }
  }

  /// The next picture; nil where there are no more. Throws where there was none at all for a reason.
  func next() throws -> Frame? {
    guard isFirst else { return link.mailbox.take() }
    var trouble: (since: UInt64, reason: String)?
    while true {
      if let frame = link.mailbox.take(timeout: PictureReader.glance) {
        isFirst = false
        return frame
      }
      if link.mailbox.isClosed { return try last() }
      // An address is called, and a camera waited for, without end: not by who wants a picture now.
      let state = link.status.current
      if case .waiting(let reason) = state { trouble = (trouble?.since ?? Clock.now(), reason) }
      if state != .live, let trouble, Clock.now() - trouble.since > PictureReader.patience {
        throw PictureReader.unavailable(trouble.reason)
      }
    }
  }

  /// What came just before the end.
  private func last() throws -> Frame? {
    if let frame = link.mailbox.take() {
      isFirst = false
      return frame
    }
    if let error = failure.error { throw error }
    return nil
  }

  func close() {
    link.stop.set()
    link.mailbox.close()
    thread.join()
  }

  static func nothing(in spec: InputSpec) -> FrameError {
    FrameError(
      .corrupt, "reading \(spec)", "there is no picture in it", remedy: "give a picture or a video file")
  }

  private static func unavailable(_ reason: String) -> InputError {
    let end = ", waiting"
    return InputError(
      .unavailable, "waiting for a picture",
      reason.hasSuffix(end) ? String(reason.dropLast(end.count)) : reason,
      remedy: "check the address, or the camera with turbocam doctor")
  }
}
