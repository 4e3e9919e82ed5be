import Frames
import Glibc

/// Keeps one picture file (.jpg or .png) up to date: the first picture, then the newest at most once a second,
/// and the last one at the end. Each replaces the file in one step. Notices are left out: whoever keeps the file
/// must not keep one for a picture. A picture that could not be written is told, and tried again until a newer one
/// takes its place; only where the last one fails too does `run` throw.
public final class StillWriter: Output, @unchecked Sendable {
  private static let interval: UInt64 = 1_000_000_000
  public let mailbox: Mailbox
  private let target: FileTarget
  private let options: SinkOptions
  private let encoder: PictureEncoder
  /// Whether the last write failed, which was told.
  private var isFailing = false

  public init(path: String, options: SinkOptions) throws {
    target = FileTarget(path: path)
    self.options = options
    mailbox = Mailbox(options.policy)
    encoder = try PictureEncoder(
      Sink.ending(of: path) == "png" ? .png : .jpeg(quality: options.quality ?? PictureEncoder.quality))
  }

  public var label: String { target.path }
  public func open() throws { try target.checkReplacing() }

  public func run() throws {
    defer {
      mailbox.isWanted = false
      mailbox.close()
    }
    var waiting: Frame?
    var due: UInt64 = 0
    while true {
      let now = Clock.now()
      if waiting != nil, now >= due, let frame = waiting.take() {
        if !tryWriting(frame) { waiting = consume frame }
        due = Clock.now() + Self.interval
      }
      let frame = waiting == nil ? mailbox.take() : mailbox.take(timeout: due - now)
      if let frame {
        if !frame.isNotice { waiting = consume frame }
      } else if mailbox.isClosed {
        break
      }
    }
    if let frame = waiting.take() { try write(frame) }
  }

  /// False where it could not be written.
  private func tryWriting(_ frame: borrowing Frame) -> Bool {
    do {
      try write(frame)
      isFailing = false
      return true
    } catch {
      if !isFailing { options.tell?("\(error); the next picture is tried") }
      isFailing = true
      return false
    }
  }

  private func write(_ frame: borrowing Frame) throws {
    var stamps = frame.stamps
    do {
      try encoder.encode(frame.bytes, frame.format) { file in
        stamps.pass(.encoded)
        try target.replace(with: file)
      }
    } catch is FrameError {
      options.counters?.corrupt.wrappingAdd(1, ordering: .relaxed)
      return
    }
    stamps.pass(.written)
    options.statistics?.written(stamps)
  }
}

extension Sink {
  /// Writes `rgb` (u8 rgb24 [height, width, 3]) as the .jpg or .png file that `path` names, in one step.
  public static func writePicture(
    _ rgb: UnsafeRawBufferPointer, width: Int, height: Int, to path: String
  ) throws {
    let target = FileTarget(path: path)
    try target.checkReplacing()
    let encoder = try PictureEncoder(
      ending(of: path) == "png" ? .png : .jpeg(quality: PictureEncoder.quality))
    try encoder.encode(rgb, PictureFormat(.rgb24, width: width, height: height)) {
      try target.replace(with: $0)
    }
  }
}
