import Base
import Glibc

/// A folder that goes away with the value, and all that is in it.
public final class TemporaryFolder {
  public let path: String

  public init() throws {
    var template = Array("/tmp/turbocam-test-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw SystemFailure("mkdtemp") }
    path = String(cString: made)
  }
  deinit { Self.remove(path) }

  /// Its own name, without the folders above it.
  public var name: Substring { path[path.index(after: path.lastIndex(of: "/")!)...] }

  /// What is in it, sorted.
  public var names: [String] { Base.names(in: path, hidden: true) ?? [] }

  /// Where a file of that name lies or would.
  public func file(_ name: String) -> String { "\(path)/\(name)" }

  /// nil where it cannot be read.
  public func read(_ name: String) -> [UInt8]? { try? readFile(file(name)) }

  /// Gives the file's path.
  @discardableResult
  public func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    try writeFile(file(name), bytes)
    return file(name)
  }
  @discardableResult
  public func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

  public func makeFolder(_ name: String) throws {
    guard mkdir(file(name), 0o755) == 0 else { throw SystemFailure("mkdir \(file(name))") }
  }

  private static func remove(_ path: String) {
    // What cannot be unlinked is a folder.
    guard unlink(path) != 0 else { return }
    for name in Base.names(in: path, hidden: true) ?? [] { remove("\(path)/\(name)") }
    rmdir(path)
  }
}
