import Base
import CV4L2
import Frames
import Glibc

/// A V4L2 node that captures or (as a virtual camera's entrance) takes video.
public struct CameraInfo: Equatable, Sendable {
  public var path: String
  /// The name for people.
  public var card: String
  public var driver: String
  /// Where it is plugged in: "usb-0000:00:14.0-1".
  public var bus: String
  /// Frames can be captured from it now.
  public var isCapture: Bool
  /// Frames can be given to it.
  public var isOutput: Bool
  public var isLoopback: Bool
  /// What it captures in; empty for one that only takes video.
  public var formats: [CameraFormat]
}

/// A layout that a camera offers.
public struct CameraFormat: Equatable, Sendable {
  /// "YUYV", "MJPG".
  public var fourcc: String
  public var description: String
  /// Whether turbocam works on it as it is; what is not goes through libv4lconvert where that knows it.
  public var isNative: Bool
  public var sizes: [CameraSize]

  public init(fourcc: String, description: String, isNative: Bool, sizes: [CameraSize]) {
    self.fourcc = fourcc
    self.description = description
    self.isNative = isNative
    self.sizes = sizes
  }
}

/// A size that a camera offers for a layout.
public struct CameraSize: Equatable, Sendable {
  public var width: Int
  public var height: Int
  /// Frames a second, fastest first; empty where the driver does not say.
  public var rates: [Double]

  public init(width: Int, height: Int, rates: [Double]) {
    self.width = width
    self.height = height
    self.rates = rates
  }
}

public enum Cameras {
  /// All video nodes that capture or take video, by number; nodes that cannot be opened are left out.
  public static func list() -> [CameraInfo] {
    paths().compactMap { path in
      guard let device = try? VideoDevice(path: path) else { return nil }
      let capability = device.capability
      guard capability.isCapture || capability.isOutput else { return nil }
      return CameraInfo(
        path: path, card: capability.card, driver: capability.driver, bus: capability.bus,
        isCapture: capability.isCapture, isOutput: capability.isOutput, isLoopback: capability.isLoopback,
        formats: capability.isCapture ? device.formats() : [])
    }
  }

  /// The paths of all /dev/video nodes, by number.
  static func paths() -> [String] {
    let nodes = (names(in: "/dev") ?? []).filter { $0.hasPrefix("video") }
    return nodes.compactMap { Int($0.dropFirst(5)) }.sorted().map { "/dev/video\($0)" }
  }
}

extension VideoDevice {
  /// Drivers number these lists themselves; no list that ends is longer.
  private static let longestList: UInt32 = 256

  /// The formats that the driver lists for capture.
  func formatCodes() -> [FourCC] {
    enumerate { index in
      var format = v4l2_fmtdesc()
      format.index = index
      format.type = captureType
      return call(turbocam_VIDIOC_ENUM_FMT, &format) == 0 ? FourCC(format.pixelformat) : nil
    }
  }

  /// All formats, sizes and rates that the driver lists for capture.
  func formats() -> [CameraFormat] {
    enumerate { index in
      var format = v4l2_fmtdesc()
      format.index = index
      format.type = captureType
      guard call(turbocam_VIDIOC_ENUM_FMT, &format) == 0 else { return nil }
      let code = FourCC(format.pixelformat)
      return CameraFormat(
        fourcc: code.description, description: fixedText(of: &format.description),
        isNative: code.pixels != nil,
        sizes: sizes(code))
    }
  }

  func sizes(_ format: FourCC) -> [CameraSize] {
    var stepwise: v4l2_frmsize_stepwise?
    let listed: [CameraSize] = enumerate { index in
      var size = v4l2_frmsizeenum()
      size.index = index
      size.pixel_format = format.code
      guard stepwise == nil, call(turbocam_VIDIOC_ENUM_FRAMESIZES, &size) == 0 else { return nil }
      guard size.type == V4L2_FRMSIZE_TYPE_DISCRETE.rawValue else {
        stepwise = size.stepwise
        return nil
      }
      return self.size(format, size.discrete.width, size.discrete.height)
    }
    guard let stepwise else { return listed }
    return SizeSteps(stepwise).usual.map { self.size(format, $0.width, $0.height) }
  }

  private func size(_ format: FourCC, _ width: UInt32, _ height: UInt32) -> CameraSize {
    CameraSize(width: Int(width), height: Int(height), rates: rates(format, width, height))
  }

  private func rates(_ format: FourCC, _ width: UInt32, _ height: UInt32) -> [Double] {
    var range: [Double] = []
    let listed: [Double] = enumerate { index in
      var interval = v4l2_frmivalenum()
      interval.index = index
      interval.pixel_format = format.code
      interval.width = width
      interval.height = height
      guard range.isEmpty, call(turbocam_VIDIOC_ENUM_FRAMEINTERVALS, &interval) == 0 else { return nil }
      guard interval.type == V4L2_FRMIVAL_TYPE_DISCRETE.rawValue else {
        range = VideoDevice.usualRates(interval.stepwise.max.rate, interval.stepwise.min.rate)
        return nil
      }
      return interval.discrete.rate
    }
    return Set((listed + range).filter { $0 > 0 && $0 < 10_000 }).sorted(by: >)
  }

  /// The ends of a range of rates, and the usual ones in it: drivers take any there.
  private static func usualRates(_ least: Double, _ most: Double) -> [Double] {
    [least, most] + [15, 24, 25, 30, 50, 60].filter { $0 > least && $0 < most }
  }

  /// Calls `entry` with 0, 1 … until it gives nil.
  private func enumerate<Entry>(_ entry: (UInt32) -> Entry?) -> [Entry] {
    var entries: [Entry] = []
    while entries.count < VideoDevice.longestList, let next = entry(UInt32(entries.count)) {
      entries.append(next)
    }
    return entries
  }
}

extension v4l2_fract {
  /// An interval as frames a second, 0 where it is none.
  var rate: Double { numerator == 0 ? 0 : Double(denominator) / Double(numerator) }
}

/// Sizes that a driver gives as a range.
struct SizeSteps {
  private let widths: (UInt32, UInt32, UInt32)
  private let heights: (UInt32, UInt32, UInt32)
  private static let wanted: [(UInt32, UInt32)] = [
    (320, 180), (320, 240), (424, 240), (640, 360), (640, 480), (800, 600), (848, 480), (960, 540),
    (1024, 768), (1280, 720), (1280, 960), (1600, 1200), (1920, 1080), (2560, 1440), (3840, 2160),
  ]

  init(_ range: v4l2_frmsize_stepwise) {
    widths = (range.min_width, range.max_width, max(1, range.step_width))
    heights = (range.min_height, range.max_height, max(1, range.step_height))
  }

  /// The usual video sizes that are in the range, and the largest.
  var usual: [(width: UInt32, height: UInt32)] {
    var sizes = SizeSteps.wanted.filter { allows($0.0, widths) && allows($0.1, heights) }
    if !sizes.contains(where: { $0 == (widths.1, heights.1) }) { sizes.append((widths.1, heights.1)) }
    return sizes.map { (width: $0.0, height: $0.1) }
  }

  private func allows(_ side: UInt32, _ range: (UInt32, UInt32, UInt32)) -> Bool {
    side >= range.0 && side <= range.1 && (side - range.0) % range.2 == 0
  }
}
