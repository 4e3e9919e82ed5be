import Glibc

/// What a path leads to, whatever it is called there: names, links and nodes of one file or device are equal.
public enum FileIdentity: Hashable, Sendable {
  case file(system: UInt, number: UInt)
  case device(number: UInt)
  /// Not there yet: its name in its folder.
  case missing(name: String, system: UInt, folder: UInt)

  /// nil where there is not even a folder.
  public init?(_ path: String) {
    var status = stat()
    if stat(path, &status) == 0 {
      self.init(status)
      return
    }
    let end = path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex
    guard errno == ENOENT, stat(end == path.startIndex ? "." : String(path[..<end]), &status) == 0 else {
      return nil
    }
    self = .missing(name: String(path[end...]), system: UInt(status.st_dev), folder: UInt(status.st_ino))
  }

  /// Of what is open; pipes and sockets count as files. nil only where `fstat` fails.
  public init?(descriptor: Int32) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return nil }
    self.init(status)
  }

  private init(_ status: stat) {
    switch status.st_mode & S_IFMT {
    case S_IFCHR, S_IFBLK: self = .device(number: UInt(status.st_rdev))
    default: self = .file(system: UInt(status.st_dev), number: UInt(status.st_ino))
    }
  }
}
