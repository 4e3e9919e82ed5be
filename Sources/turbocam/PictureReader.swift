import Frames
import Inputs

/// The pictures of a file, camera or stream one after the other, as fast as they are asked for.
final class PictureReader {
  private let spec: String
  private let link = InputLink(
    mailbox: Mailbox(.every), status: StatusBoard(), counters: Counters(), stop: StopFlag())
  private let failure = Failure()
  private let thread: StageThread
  private var isFirst = true

  init(_ spec: String) throws {
    self.spec = spec
    let source = try Source.make(spec, options: SourceOptions(realTime: false))
    thread = StageThread("input") { [link, failure] in
      do { try source.run(link) } catch { failure.set(error) }
      link.mailbox.close()
    }
  }

  /// The next picture; nil where there are no more. Throws where there was none at all for a reason.
  func next() throws -> Frame? {
    if let frame = link.mailbox.take() {
      isFirst = false
      return frame
    }
    if isFirst, let error = failure.error { throw error }
    return nil
  }

  func close() {
    link.stop.set()
    link.mailbox.close()
    thread.join()
  }

  static func nothing(in spec: String) -> FrameError {
    FrameError(
      .corrupt, "reading \(spec)", "there is no picture in it", remedy: "give a picture or a video file")
  }
}
