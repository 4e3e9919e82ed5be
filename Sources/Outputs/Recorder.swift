import CAV
import Frames
import Glibc

/// Records H.264 into .mp4 or .mkv.
///
/// The file is written in fragments (.mp4) or clusters (.mkv), each complete in itself: the first picture
/// alone, then longer ones of up to about two seconds. After a crash, a power cut or on a full disk
/// everything up to the last one plays; a usual .mp4 would be worth nothing without the index at its end.
/// Frames carry their time of capture, so the rate varies as the camera's and the model's did. The film
/// begins with the first picture, which fixes the size; later ones, notices among them, are fitted into it. A
/// film that is repainted keeps its sound.
public final class Recorder: Output, @unchecked Sendable {
  public let mailbox: Mailbox
  private let target: FileTarget
  private let container: String
  private let options: SinkOptions

  /// `container`: "mp4" or "mkv".
  public init(path: String, container: String, options: SinkOptions) {
    target = FileTarget(path: path)
    self.container = container
    self.options = options
    mailbox = Mailbox(options.policy)
  }

  public var label: String { target.path }

  public func open() throws {
    try target.check()
    guard MovieWriter.encoderName != nil else {
      throw OutputError(
        .unavailable, target.attempt, "libavcodec has no H.264 encoder",
        remedy: "install it: sudo apt-get install libavcodec-extra, or record .mjpeg")
    }
  }

  /// Creates the file with the first picture and finishes it when the mailbox is closed. A disk that is full
  /// ends it with an error, after cutting off what was written in part; where not one picture fits, the file
  /// is removed.
  public func run() throws {
    defer {
      mailbox.isWanted = false
      mailbox.close()
    }
    guard let first = mailbox.takePicture() else { return }
    let begin = first.stamps.filmTime ?? 0
    let sound = options.sound.flatMap { SoundTrack(path: $0, from: begin) }
    let movie = try MovieWriter(target, container: container, like: first.format, sound: sound)
    if let sound, !movie.hasSound {
      options.tell?(
        "\(target.path) is without sound: .\(container) does not take its \(sound.codec) as it is")
    }
    do {
      try add(first, to: movie)
      while let frame = mailbox.take() { try add(frame, to: movie) }
      try movie.finish()
      if let sound, sound.hasJumped {
        options.tell?(
          "\(target.path): the time stamps of the film jump; there its sound goes on where it was, as its "
            + "pictures do, which may be a moment apart")
      }
    } catch {
      if !movie.abandon() { throw FileTarget.removed(error) }
      throw error
    }
  }

  private func add(_ frame: borrowing Frame, to movie: MovieWriter) throws {
    var stamps = frame.stamps
    // Notices were captured by nobody.
    let time = [stamps[.captured], stamps[.received], stamps[.published]].first { $0 != 0 } ?? Clock.now()
    do {
      try movie.add(frame.bytes, frame.format, time: time)
    } catch is FrameError {
      options.counters?.corrupt.wrappingAdd(1, ordering: .relaxed)
      return
    }
    stamps.pass(.encoded)
    stamps[.written] = stamps[.encoded]
    options.statistics?.written(stamps)
  }
}
