import Base
import CV4L2

/// What VIDIOC_QUERYCAP says of a V4L2 node.
public struct VideoCapability: Equatable, Sendable {
  /// The name for people.
  public let card: String
  public let driver: String
  /// Where it is plugged in.
  public let bus: String
  private let flags: UInt32

  /// nil, with `errno` set, where it is no V4L2 node.
  public init?(descriptor: Int32) {
    var raw = v4l2_capability()
    guard turbocam_ioctl(descriptor, turbocam_VIDIOC_QUERYCAP, &raw) == 0 else { return nil }
    card = fixedText(of: &raw.card)
    driver = fixedText(of: &raw.driver)
    bus = fixedText(of: &raw.bus_info)
    // Old drivers fill only the first, which speaks for all nodes of the hardware.
    flags =
      raw.capabilities & UInt32(V4L2_CAP_DEVICE_CAPS) != 0 ? raw.device_caps : raw.capabilities
  }

  /// `flags`: V4L2_CAP_… of this node.
  public init(card: String, driver: String, bus: String, flags: UInt32) {
    self.card = card
    self.driver = driver
    self.bus = bus
    self.flags = flags
  }

  public var isCapture: Bool {
    flags & (UInt32(V4L2_CAP_VIDEO_CAPTURE) | UInt32(V4L2_CAP_VIDEO_CAPTURE_MPLANE)) != 0
  }
  public var isOutput: Bool { flags & UInt32(V4L2_CAP_VIDEO_OUTPUT) != 0 }
  /// Captures by the multi-planar API only, as many cameras on boards of their own do.
  public var isMultiPlanar: Bool { isCapture && flags & UInt32(V4L2_CAP_VIDEO_CAPTURE) == 0 }
  public var isStreaming: Bool { flags & UInt32(V4L2_CAP_STREAMING) != 0 }
  /// Gives pictures only once the media controller has joined the parts of a camera, sensor, receiver and processor:
  /// what libcamera does.
  public var needsMediaController: Bool { isCapture && flags & UInt32(V4L2_CAP_IO_MC) != 0 }
  /// By the name that v4l2loopback gives itself in all its versions.
  public var isLoopback: Bool { driver == "v4l2 loopback" }
}

/// The text in a fixed field of a kernel structure, which need not end in a zero, as it may go to a terminal.
public func fixedText<Field>(of field: inout Field) -> String {
  withUnsafeBytes(of: &field) { shownText($0.prefix { $0 != 0 }) }
}
