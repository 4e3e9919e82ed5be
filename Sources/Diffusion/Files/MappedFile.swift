import Glibc

/// A file of which the pages are read as they are touched.
///
/// The size is that of the moment of opening. A file that somebody shortens while it is mapped ends the
/// process with SIGBUS, as for every program that maps files.
final class MappedFile: @unchecked Sendable {
  let path: String
  let bytes: UnsafeRawBufferPointer

  /// Maps the whole of a regular file, read-only. An empty file gives no bytes.
  init(path: String) throws {
    self.path = path
    // Without O_NONBLOCK a named pipe would wait for its writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure(path, "open") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.failure(path, "fstat") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw DiffusionError(.data, path: path, "is not a file") }
    let count = Int(status.st_size)
    guard count > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw Self.failure(path, "mmap")
    }
    bytes = UnsafeRawBufferPointer(start: base, count: count)
  }

  deinit {
    if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
  }

  /// Lets the kernel drop the pages that lie wholly within `range`; they are read again when touched.
  func drop(_ range: Range<Int>) {
    let page = sysconf(Int32(_SC_PAGESIZE))
    let start = (range.lowerBound + page - 1) / page * page
    let end = range.upperBound / page * page
    guard let base = bytes.baseAddress, start < end, end <= bytes.count else { return }
    madvise(UnsafeMutableRawPointer(mutating: base + start), end - start, MADV_DONTNEED)
  }

  private static func failure(_ path: String, _ call: String) -> DiffusionError {
    let code = errno
    let fact = "cannot be read (\(call): \(String(cString: strerror(code))))"
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
    let file = try MappedFile(path: path)
    guard file.bytes.count <= limit else {
      throw DiffusionError(.data, path: path, "has \(file.bytes.count) bytes, more than \(limit)")
    }
    return Array(file.bytes)
  }

  /// An environment variable that is set and not empty.
  public static func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
  }
}
