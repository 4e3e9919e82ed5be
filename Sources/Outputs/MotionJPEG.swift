import Base
import Frames
import Glibc

/// JPEG files one after the other, into a `.mjpeg` file or down standard output (`… --output - | ffplay -`).
///
/// A reader that closes the pipe or the socket ends it quietly (the program ignores SIGPIPE). While standard
/// output carries pictures, what anything else in the process prints there goes to standard error. A full
/// disk cuts the file after its last whole frame.
public final class MotionJPEG: Output, @unchecked Sendable {
  public enum Target: Sendable, Equatable {
    case standardOutput
    case file(String)
  }

  /// What stands behind the descriptor: a file is always ready.
  private enum Channel {
    case file, pipe, socket
  }

  public let mailbox: Mailbox
  private let target: Target
  private let options: SinkOptions
  private let encoder: StreamEncoder
  private var descriptor: Int32 = -1
  private var channel = Channel.file
  /// Why the first picture that could not be encoded could not.
  private var failure: (any Error)?

  public init(_ target: Target, options: SinkOptions) throws {
    self.target = target
    self.options = options
    mailbox = Mailbox(options.policy)
    encoder = try StreamEncoder(quality: options.quality, holders: 0)
  }
  deinit { if descriptor >= 0 { close(descriptor) } }

  public var label: String {
    switch target {
    case .standardOutput: return "standard output"
    case .file(let path): return path
    }
  }

  public func open() throws {
    switch target {
    case .file(let path): try FileTarget(path: path).check()
    case .standardOutput: try takeStandardOutput()
    }
  }

  public func run() throws {
    defer {
      mailbox.isWanted = false
      mailbox.close()
    }
    var whole: off_t = 0
    while let frame = next(isFirst: whole == 0) {
      guard let jpeg = encode(frame) else { continue }
      if descriptor < 0, case .file(let path) = target { descriptor = try FileTarget(path: path).create() }
      guard try write(jpeg.bytes, whole: whole) else { return }
      whole += off_t(jpeg.bytes.count)
      var stamps = jpeg.stamps
      stamps.pass(.written)
      options.statistics?.written(stamps)
    }
    try finish()
    guard whole == 0, let failure else { return }
    throw OutputError(
      .data, attempt, "not one picture could be encoded: \(failure)",
      remedy: "try another input or another --size")
  }

  /// nil where it cannot be encoded, which is counted. A buffer is always free: one frame is out at a time.
  private func encode(_ frame: borrowing Frame) -> Frame? {
    do { return try encoder.encode(frame) } catch {
      options.counters?.corrupt.wrappingAdd(1, ordering: .relaxed)
      failure = failure ?? error
      return nil
    }
  }

  /// Some file systems tell of a full disk only here.
  private func finish() throws {
    guard descriptor >= 0 else { return }
    let number = close(descriptor) == 0 ? 0 : errno
    descriptor = -1
    if number != 0 { throw refusal(number) }
  }

  /// A film begins with a picture; down a pipe somebody watches, and reads why there is none yet.
  private func next(isFirst: Bool) -> Frame? {
    isFirst && target != .standardOutput ? mailbox.takePicture() : mailbox.take()
  }

  /// False where the reader is gone or the end has come while it did not read.
  private func write(_ bytes: UnsafeRawBufferPointer, whole: off_t) throws -> Bool {
    if channel == .file ? writeAll(descriptor, bytes) : writePatiently(bytes) { return true }
    let number = errno
    switch target {
    case .standardOutput:
      if [EPIPE, ECONNRESET, ETIMEDOUT].contains(number) { return false }
      throw refusal(number)
    case .file(let path):
      guard whole > 0 else {
        unlink(path)
        throw FileTarget.removed(refusal(number))
      }
      ftruncate(descriptor, whole)
      throw refusal(number)
    }
  }

  private var attempt: String { "writing \(label)" }

  private func refusal(_ number: Int32) -> OutputError {
    switch target {
    case .standardOutput: return OutputError(.io, attempt, systemFact("write", number))
    case .file(let path): return FileTarget(path: path).refusal(number)
    }
  }

  /// Writes pieces that a pipe or a socket takes without blocking once it is ready, so that a reader who has
  /// stopped reading cannot hold up the end.
  private func writePatiently(_ bytes: UnsafeRawBufferPointer) -> Bool {
    // PIPE_BUF; poll reports a pipe ready when as much is free.
    let piece = 4096
    var rest = bytes
    while rest.count > 0 {
      var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      let found = poll(&ready, 1, 1000)
      if found < 0 && errno != EINTR { return false }
      if found <= 0 {
        guard mailbox.isClosed else { continue }
        errno = ETIMEDOUT
        return false
      }
      let count = writeReady(UnsafeRawBufferPointer(rebasing: rest.prefix(piece)))
      if count >= 0 {
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      } else if errno != EAGAIN && errno != EINTR {
        return false
      }
    }
    return true
  }

  /// A socket that is ready may take less than a piece, and would block for the rest.
  private func writeReady(_ piece: UnsafeRawBufferPointer) -> Int {
    guard channel == .socket else { return Glibc.write(descriptor, piece.baseAddress, piece.count) }
    return send(descriptor, piece.baseAddress, piece.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
  }

  private func takeStandardOutput() throws {
    guard isatty(STDOUT_FILENO) == 0 else {
      throw OutputError(
        .usage, attempt, "it is a terminal, and JPEGs are not for reading",
        remedy: "pipe it: turbocam run --output - | ffplay -")
    }
    descriptor = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
    guard descriptor >= 0, dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 else {
      throw OutputError(.system, attempt, systemFact("dup"))
    }
    var status = stat()
    fstat(descriptor, &status)
    switch status.st_mode & S_IFMT {
    case S_IFIFO: channel = .pipe
    case S_IFSOCK: channel = .socket
    default: channel = .file
    }
  }
}
