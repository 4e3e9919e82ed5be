import Base
import Glibc
import TestSupport

extension TemporaryFolder {
  /// Writes a file of `count` bytes that starts with `head`; the rest is a hole, which takes no room.
  func write(_ name: String, _ head: [UInt8], count: Int) throws {
    let file = try write(name, head)
    guard truncate(file, count) == 0 else { throw SystemFailure("truncate \(file)") }
  }

  /// Copies a folder's files, one level of folders deep, by links.
  func link(_ source: String, _ prefix: String = "") throws {
    for name in Base.names(in: source) ?? [] {
      let (from, to) = (source + "/" + name, prefix + name)
      if Base.names(in: from) == nil {
        symlink(from, file(to))
      } else {
        try makeFolder(to)
        try link(from, to + "/")
      }
    }
  }

  /// Takes a file's link away and writes the file anew.
  func replace(_ name: String, _ bytes: [UInt8]) throws {
    unlink(file(name))
    try write(name, bytes)
  }

  func remove(_ name: String) { unlink(file(name)) }
}
