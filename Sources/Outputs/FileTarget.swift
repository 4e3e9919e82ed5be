import Base
import Glibc

/// A file to be written. As ffmpeg -y does, a regular file that is there is replaced; nothing else is.
struct FileTarget: Sendable {
  let path: String

  /// Refuses what could not be written and leaves everything as it was: nothing is there before a picture is.
  func check() throws {
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFREG else {
        throw refusal("it is there and is not a regular file", remedy: "choose another name")
      }
      let descriptor = open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw refusal(errno) }
      close(descriptor)
      return
    }
    guard errno == ENOENT else { throw refusal(errno) }
    guard stat(folder, &status) == 0 else {
      throw refusal("the folder \(folder) does not exist", remedy: "make it first: mkdir -p '\(folder)'")
    }
    // Permission bits do not tell all: read-only and virtual file systems, limits, access lists.
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw refusal(errno) }
    close(descriptor)
    unlink(path)
  }

  /// The same for `replace`, which needs another file in the folder of the real one.
  func checkReplacing() throws {
    try check()
    let (descriptor, temporary) = try openBeside(real)
    close(descriptor)
    unlink(temporary)
  }

  /// Creates the file or empties it. Gives its descriptor.
  func create() throws -> Int32 {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw refusal(errno) }
    return descriptor
  }

  /// Puts `bytes` there in one step: a reader sees the old file or the new one, whole.
  func replace(with bytes: UnsafeRawBufferPointer) throws {
    let target = real
    let (descriptor, temporary) = try openBeside(target)
    var failure: Int32 = 0
    if !writeAll(descriptor, bytes) { failure = errno }
    // Some file systems tell of a full disk only here.
    if close(descriptor) != 0, failure == 0 { failure = errno }
    if failure == 0, rename(temporary, target.path) != 0 { failure = errno }
    guard failure == 0 else {
      unlink(temporary)
      throw refusal(failure)
    }
  }

  func refusal(_ number: Int32) -> OutputError {
    switch number {
    case ENOSPC, EDQUOT:
      return OutputError(.io, attempt, systemFact("write", number), remedy: "make room on the disk")
    case EFBIG:
      return OutputError(
        .io, attempt, systemFact("write", number),
        remedy:
          "raise the limit of a file's size (ulimit -f, systemd's LimitFSIZE=), or choose another file system"
      )
    case EIO: return OutputError(.io, attempt, systemFact("write", number))
    case EACCES, EPERM, EROFS:
      return refusal(systemFact("open", number), remedy: "choose a folder that you may write to")
    default: return refusal(systemFact("open", number), remedy: "choose another file")
    }
  }

  /// The same error, where nothing of the file was worth keeping.
  static func removed(_ error: any Error) -> any Error {
    guard let error = error as? OutputError else { return error }
    return OutputError(
      error.code, error.attempt, error.fact + ", before one picture was whole; the file is removed",
      remedy: error.remedy)
  }

  var attempt: String { "writing \(path)" }
  private var folder: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
  private var name: Substring {
    path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...]
  }

  /// The file itself where the path is a link: that stays one, and what it names is replaced.
  private var real: FileTarget {
    guard let found = realpath(path, nil) else { return self }
    defer { free(found) }
    return FileTarget(path: String(cString: found))
  }

  /// The file that will be renamed to `target`.
  private func openBeside(_ target: FileTarget) throws -> (descriptor: Int32, path: String) {
    let temporary = "\(target.folder)/.turbocam-\(getpid())-\(target.name)"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw refusal(errno) }
    return (descriptor, temporary)
  }

  private func refusal(_ fact: String, remedy: String) -> OutputError {
    OutputError(.cannotCreate, attempt, fact, remedy: remedy)
  }
}

/// Writes everything or gives false with `errno` set.
func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Bool {
  var rest = bytes
  while let base = rest.baseAddress, rest.count > 0 {
    let count = write(descriptor, base, rest.count)
    if count < 0 {
      if errno == EINTR { continue }
      return false
    }
    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
  }
  return true
}
