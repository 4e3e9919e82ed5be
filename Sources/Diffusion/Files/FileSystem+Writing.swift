import Base
import Glibc

extension FileSystem {
  /// Makes a folder, which must not be there yet, in one that is.
  static func makeFolder(_ path: String) throws {
    guard mkdir(path, 0o777) == 0 else {
      let code = errno
      let remedy =
        code == EEXIST
        ? "Give the name of a folder that is not there yet, or remove it first."
        : code == ENOENT ? "Make the folder above it first (mkdir -p)." : nil
      throw DiffusionError(
        .cannotCreate, path: path, "cannot be made (\(systemFact("mkdir", code)))",
        remedy: remedy)
    }
  }

  static func files(in folder: String) throws -> [String] {
    try entries(folder).filter { isFile("\(folder)/\($0)") }
  }
  static func folders(in folder: String) throws -> [String] {
    try entries(folder).filter { isFolder("\(folder)/\($0)") }
  }

  private static func entries(_ folder: String) throws -> [String] {
    guard let names = names(in: folder) else { throw failure(folder, "read", "opendir") }
    return names
  }

  /// A copy of a regular file's contents.
  static func copy(_ path: String, to target: String) throws {
    let (source, copy) = (try ModelFile(path: path), try NewFile(path: target))
    try source.withPieces(0..<source.count) { try copy.write($1) }
    try copy.close()
  }

  static func write(_ bytes: [UInt8], to path: String) throws {
    let file = try NewFile(path: path)
    try bytes.withUnsafeBytes { try file.write($0) }
    try file.close()
  }

  fileprivate static func failure(
    _ path: String, _ what: String, _ call: String, _ kind: DiffusionError.Kind = .io
  ) -> DiffusionError {
    DiffusionError(kind, path: path, "cannot be \(what) (\(systemFact(call)))")
  }
}

/// A file that is written from its beginning to its end. What is written counts once it is closed.
final class NewFile {
  private let path: String
  private var file: UnsafeMutablePointer<FILE>?

  init(path: String) throws {
    self.path = path
    file = fopen(path, "wbe")
    guard file != nil else { throw FileSystem.failure(path, "made", "open", .cannotCreate) }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws {
    guard let file, fwrite(bytes.baseAddress, 1, bytes.count, file) == bytes.count else {
      throw FileSystem.failure(path, "written", "write")
    }
  }

  func close() throws {
    let closed = file.map { fclose($0) }
    file = nil
    guard closed == 0 else { throw FileSystem.failure(path, "written", "close") }
  }

  deinit { if let file { fclose(file) } }
}
