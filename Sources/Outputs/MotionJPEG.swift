import Base
import Frames
import Glibc

/// JPEG files one after the other, into a `.mjpeg` file or down standard output (`… --output - | ffplay -`).
///
/// A reader that closes the pipe ends it quietly (the program ignores SIGPIPE). While standard output carries pictures,
/// what anything else in the process prints there goes to standard error. A full disk cuts the file after its last whole
/// frame.
public final class MotionJPEG: Output, @unchecked Sendable {
  public enum Target: Sendable, Equatable {
    case standardOutput
    case file(String)
  }

  public let mailbox: Mailbox
  private let target: Target
  private let options: SinkOptions
  private let encoder: StreamEncoder
  private var descriptor: Int32 = -1
  private var isPipe = false

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
      guard let jpeg = encoder.encode(frame) else {
        options.counters?.corrupt.wrappingAdd(1, ordering: .relaxed)
        continue
      }
      if descriptor < 0, case .file(let path) = target { descriptor = try FileTarget(path: path).create() }
      guard try write(jpeg.bytes, whole: whole) else { return }
      whole += off_t(jpeg.bytes.count)
      var stamps = jpeg.stamps
      stamps.pass(.written)
      options.statistics?.written(stamps)
    }
  }

  /// A film begins with a picture; down a pipe somebody watches, and reads why there is none yet.
  private func next(isFirst: Bool) -> Frame? {
    isFirst && target != .standardOutput ? mailbox.takePicture() : mailbox.take()
  }

  /// False where the reader is gone or the end has come while it did not read.
  private func write(_ bytes: UnsafeRawBufferPointer, whole: off_t) throws -> Bool {
    if isPipe ? writePatiently(bytes) : writeAll(descriptor, bytes) { return true }
    switch (target, errno) {
    case (.standardOutput, EPIPE), (.standardOutput, ETIMEDOUT): return false
    case (.standardOutput, let number):
      throw OutputError(.io, "writing standard output", systemFact("write", number))
    case (.file(let path), let number):
      let refusal = FileTarget(path: path).refusal(number)
      guard whole > 0 else {
        unlink(path)
        throw FileTarget.removed(refusal)
      }
      ftruncate(descriptor, whole)
      throw refusal
    }
  }

  /// Writes pieces that a pipe takes without blocking once it is ready, so that a reader who has stopped
  /// reading cannot hold up the end.
  private func writePatiently(_ bytes: UnsafeRawBufferPointer) -> Bool {
    // PIPE_BUF; poll reports a pipe ready when as much is free.
    let piece = 4096
    var offset = 0
    while offset < bytes.count {
      var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      let found = poll(&ready, 1, 1000)
      if found < 0 && errno != EINTR { return false }
      if found <= 0 {
        guard mailbox.isClosed else { continue }
        errno = ETIMEDOUT
        return false
      }
      let count = min(piece, bytes.count - offset)
      guard writeAll(descriptor, UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])) else {
        return false
      }
      offset += count
    }
    return true
  }

  private func takeStandardOutput() throws {
    let attempt = "writing standard output"
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
    isPipe = status.st_mode & S_IFMT == S_IFIFO
  }
}
