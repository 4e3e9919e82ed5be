import Base
import Frames
import Glibc

/// A node of /dev/video* that answered.
public struct CameraNode: Equatable, Sendable {
  public let path: String
  public let capability: VideoCapability
  /// Why nothing here can make pictures of what it captures, nil where that is known of nothing.
  public let obstacle: String?

  public init(path: String, capability: VideoCapability, obstacle: String? = nil) {
    self.path = path
    self.capability = capability
    self.obstacle = obstacle
  }

  /// Throws an `InputError`.
  init(opening path: String) throws {
    let device = try VideoDevice(path: path)
    self.init(path: path, capability: device.capability, obstacle: device.obstacle)
  }

  /// For people.
  public var label: String { "\(path) (\(capability.card))" }
}

/// A node of /dev/video* that this user may not open.
public struct DeniedNode: Equatable, Sendable {
  public let path: String
  /// The kernel's name for it, which everybody may read; empty where it has none.
  public let name: String
  public let isLoopback: Bool
  public let error: InputError

  public init(path: String, name: String, isLoopback: Bool, error: InputError) {
    self.path = path
    self.name = name
    self.isLoopback = isLoopback
    self.error = error
  }

  /// `sysfs`: where the kernel tells of its video nodes.
  public init(path: String, error: InputError, sysfs: String = "/sys/class/video4linux") {
    let place = "\(sysfs)/\(path.split(separator: "/").last ?? "")"
    let name = readSmallFile("\(place)/name")?.utf8.prefix { $0 != UInt8(ascii: "\n") }
    self.init(
      path: path, name: name.map(shownText) ?? "",
      // An attribute that only v4l2loopback has.
      isLoopback: access("\(place)/max_openers", F_OK) == 0, error: error)
  }

  /// For people.
  public var label: String { name.isEmpty ? path : "\(path) (\(name))" }
}

extension VideoDevice {
  /// What is in the way of reading it at all, nil for a camera that can be read and for what is none.
  fileprivate var obstacle: String? {
    guard capability.isCapture, !capability.isLoopback else { return nil }
    if capability.needsMediaController { return CameraNode.needsLibcamera(driver: capability.driver) }
    let codes = formatCodes()
    if codes.isEmpty || codes.contains(where: { $0.pixels != nil }) { return nil }
    let converts = !capability.isMultiPlanar && Conversion(self, width: 640, height: 480) != nil
    return converts ? nil : CameraNode.unreadable(codes.map(\.description))
  }
}

extension CameraNode {
  static func needsLibcamera(driver: String) -> String {
    "it gives what the sensor sees, raw, and only through the media controller (driver \(driver)): "
      + "libcamera makes pictures of that"
  }
  static func unreadable(_ formats: [String]) -> String {
    "it offers \(formats.isEmpty ? "none" : formats.joined(separator: ", ")), which nothing here can read"
  }
  /// What brings the pictures of a camera that only libcamera can read.
  static let relay =
    "let v4l2-relayd or GStreamer give them to a virtual camera (turbocam doctor tells the commands) and take that "
    + "as --input, or choose another camera"
}
