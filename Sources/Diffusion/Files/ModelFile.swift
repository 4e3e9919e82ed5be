import Base
import Glibc
import Synchronization

/// A regular file, open for reading wherever one likes; closed with its owner.
///
/// Not mapped: a mapped file that somebody shortens, as a download that starts again does, ends the process
/// with SIGBUS. What is read here is owned, and a file that is too short by then is an error like others.
final class ModelFile: Sendable {
  let path: String
  /// Bytes, at the moment of opening.
  let count: Int
  private let descriptor: Int32
  /// What pieces are read into: small enough to stay in a cache, and the same for all.
  private let piece = Mutex([UInt8]())
  private static let pieceSize = 1 << 20

  init(path: String) throws {
    self.path = path
    // Without O_NONBLOCK a named pipe would wait for its writer.
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure(path, "open") }
    var status = stat()
    var fault: DiffusionError?
    if fstat(descriptor, &status) != 0 {
      fault = Self.failure(path, "fstat")
    } else if status.st_mode & S_IFMT != S_IFREG {
      fault = DiffusionError(.data, path: path, "is not a file")
    }
    count = Int(status.st_size)
    if let fault {
      close(descriptor)
      throw fault
    }
  }

  deinit { close(descriptor) }

  /// Reads `range` and lends it to `body`. Throws `.io` where the file has become shorter than it was.
  func withBytes<R>(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 64)
    defer { bytes.deallocate() }
    try read(range, into: bytes)
    return try body(UnsafeRawBufferPointer(bytes))
  }

  /// Reads `range` and lends it to `body` in pieces of a megabyte, with the place of each in the range.
  func withPieces(_ range: Range<Int>, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) throws {
    try piece.withLock { piece in
      if piece.isEmpty { piece = [UInt8](repeating: 0, count: Self.pieceSize) }
      try piece.withUnsafeMutableBytes { memory in
        for first in stride(from: range.lowerBound, to: range.upperBound, by: Self.pieceSize) {
          let part = first..<min(first + Self.pieceSize, range.upperBound)
          let bytes = UnsafeMutableRawBufferPointer(rebasing: memory[..<part.count])
          try read(part, into: bytes)
          try body(first - range.lowerBound, UnsafeRawBufferPointer(bytes))
        }
      }
    }
  }

  private func read(_ range: Range<Int>, into bytes: UnsafeMutableRawBufferPointer) throws {
    var filled = 0
    while filled < bytes.count {
      let part = pread(
        descriptor, bytes.baseAddress! + filled, bytes.count - filled, off_t(range.lowerBound + filled))
      if part < 0 && errno == EINTR { continue }
      if part < 0 { throw Self.failure(path, "read") }
      guard part > 0 else {
        throw DiffusionError(
          .io, path: path,
          "was cut while it was read: it had \(count) bytes, now it ends before byte \(range.upperBound)",
          remedy: "Wait until whatever writes to it is done, or download it again; then start again.")
      }
      filled += part
    }
  }

  private static func failure(_ path: String, _ call: String) -> DiffusionError {
    let code = errno
    let fact = "cannot be read (\(systemFact(call, code)))"
    return DiffusionError(code == ENOENT || code == ENOTDIR ? .noInput : .io, path: path, fact)
  }
}

/// Small questions to the file system.
public enum FileSystem {
  static func isFile(_ path: String) -> Bool { mode(path).map { $0 & S_IFMT == S_IFREG } ?? false }
  static func isFolder(_ path: String) -> Bool { mode(path).map { $0 & S_IFMT == S_IFDIR } ?? false }

  private static func mode(_ path: String) -> mode_t? {
    var status = stat()
    return stat(path, &status) == 0 ? status.st_mode : nil
  }

  /// The whole of a small file; a larger one than `limit` bytes is refused.
  static func read(_ path: String, limit: Int = 64 << 20) throws -> [UInt8] {
    let file = try ModelFile(path: path)
    guard file.count <= limit else {
      throw DiffusionError(.data, path: path, "has \(file.count) bytes, more than \(limit)")
    }
    return try file.withBytes(0..<file.count) { Array($0) }
  }

  /// The name of a safetensors file, without what tells its format.
  static func title(_ path: String) -> String {
    let file = path.split(separator: "/").last ?? ""
    return String(file.hasSuffix(".safetensors") ? file.dropLast(".safetensors".count) : file)
  }

  /// An environment variable that is set and not empty.
  public static func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
  }
}
