import Base
import Glibc

/// Whether anybody else has a v4l2loopback node open, for drivers before 0.13, which do not tell who reads.
///
/// The driver lets in so many openers and no more. Who opens the node until it is refused, and closes all that at
/// once, knows how many were there before: also those from before the start, and those in containers with nodes of
/// their own, which no inotify would tell of. For as long as that takes, microseconds once a second, the node is
/// full for everybody.
struct LoopbackReaders {
  /// Looks are at least so far apart.
  private static let interval: UInt64 = 1_000_000_000
  /// A program that looks at what a camera can do, or changes its format, closes and opens it again.
  private static let grace: UInt64 = 3_000_000_000
  /// A driver that lets in more is not asked.
  private static let mostOpeners = 64

  private let path: String
  private let openers: Int
  private var nextLook: UInt64 = 0
  private var lastSeen: UInt64 = 0

  /// nil where the driver does not say how many it lets in.
  init?(path: String) {
    guard let openers = Self.openersLetIn(path), openers <= Self.mostOpeners else { return nil }
    self.path = path
    self.openers = openers
  }

  /// Whether somebody has it open beside this program's one writer, or had a moment ago.
  mutating func areThere(now: UInt64) -> Bool {
    if now >= nextLook {
      nextLook = now + Self.interval
      if isOpenElsewhere { lastSeen = now }
    }
    return lastSeen != 0 && now - lastSeen < Self.grace
  }

  private var isOpenElsewhere: Bool {
    var opened: [Int32] = []
    defer { for descriptor in opened { close(descriptor) } }
    // One place is the writer's.
    while opened.count < openers - 1 {
      let descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
      // What else may go wrong tells nothing: somebody may be there.
      guard descriptor >= 0 else { return true }
      opened.append(descriptor)
    }
    return false
  }

  private static func openersLetIn(_ path: String) -> Int? {
    guard let node = realpath(path, nil) else { return nil }
    defer { free(node) }
    let name = String(cString: node).split(separator: "/").last ?? ""
    let text = readSmallFile("/sys/class/video4linux/\(name)/max_openers")
    return text.flatMap { Int($0.prefix { $0 != "\n" }) }
  }
}
