import Glibc

/// A folder that goes away with the value.
final class TemporaryFolder {
  let path: String

  init() throws {
    var template = Array("/tmp/turbocam-diffusion-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure(call: "mkdtemp", code: errno) }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  deinit { Self.remove(path) }

  struct Failure: Error {
    let call: String
    let code: Int32
  }

  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = path + "/" + name
    let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard descriptor >= 0 else { throw Failure(call: "open", code: errno) }
    defer { close(descriptor) }
    guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
      throw Failure(call: "write", code: errno)
    }
    return file
  }

  /// Writes a file of `count` bytes that starts with `head`; the rest is a hole, which takes no room.
  func write(_ name: String, _ head: [UInt8], count: Int) throws {
    let file = try write(name, head)
    guard truncate(file, count) == 0 else { throw Failure(call: "truncate", code: errno) }
  }

  @discardableResult
  func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

  func makeFolder(_ name: String) { mkdir(path + "/" + name, 0o755) }

  /// Copies a folder's files, one level of folders deep, by links.
  func link(_ source: String, _ prefix: String = "") throws {
    for name in Self.entries(source) {
      let (from, to) = (source + "/" + name, prefix + name)
      if Self.entries(from).isEmpty {
        symlink(from, path + "/" + to)
      } else {
        makeFolder(to)
        try link(from, to + "/")
      }
    }
  }

  /// Takes a file's link away and writes the file anew.
  func replace(_ name: String, _ bytes: [UInt8]) throws {
    unlink(path + "/" + name)
    try write(name, bytes)
  }

  func remove(_ name: String) { unlink(path + "/" + name) }

  static func entries(_ path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  static func read(_ path: String) -> [UInt8] {
    guard let file = fopen(path, "rb") else { return [] }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
    return bytes
  }

  private static func remove(_ path: String) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
      for name in entries(path) { remove(path + "/" + name) }
      rmdir(path)
    } else {
      unlink(path)
    }
  }
}
