import Frames
import Glibc

/// What to ask of a camera: format, size and rate.
public struct CaptureMode: Equatable, Sendable, CustomStringConvertible {
  /// A `fourcc` of `CameraFormat`.
  public var fourcc: String
  public var width: Int
  public var height: Int
  /// Frames a second, nil where the driver lists none.
  public var rate: Double?

  public init(fourcc: String, width: Int, height: Int, rate: Double?) {
    self.fourcc = fourcc
    self.width = width
    self.height = height
    self.rate = rate
  }

  /// For people: "MJPG 1280x720, 30 frames/s".
  public var description: String {
    "\(fourcc) \(width)x\(height)" + (rate.map { ", \(CaptureMode.text($0)) frames/s" } ?? "")
  }

  /// A rate with as many digits as tell something: "30", "29.97".
  static func text(_ rate: Double) -> String {
    let rounded = (rate * 100).rounded() / 100
    return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
  }

  /// What the rest of the program would like.
  public struct Wish: Equatable, Sendable {
    public var width: Int
    public var height: Int
    public var rate: Double
    /// JPEGs are passed on as they are, so they cost nothing to take.
    public var prefersJPEG: Bool

    public init(width: Int, height: Int, rate: Double, prefersJPEG: Bool) {
      self.width = width
      self.height = height
      self.rate = rate
      self.prefersJPEG = prefersJPEG
    }
  }

  /// The mode that comes closest to `wish`, nil where no format is native.
  ///
  /// The least sum of penalties wins: too slow is worse than too small, too small is worse than too large (which
  /// costs time on the wire and in scaling) or of another shape (of which a part is cut away), and the format decides
  /// between equals. At larger sizes USB carries
  /// raw video only at a few frames a second, so MJPEG wins there by its rate or, rates being equal, by rank.
  public static func best(of formats: [CameraFormat], for wish: Wish) -> CaptureMode? {
    var best: (mode: CaptureMode, penalty: Double)?
    for format in formats where format.isNative {
      for size in format.sizes where isUsable(size, format) {
        let rate = bestRate(size.rates, wish.rate)
        let mode = CaptureMode(fourcc: format.fourcc, width: size.width, height: size.height, rate: rate)
        let penalty = mode.penalty(wish)
        if penalty < best?.penalty ?? .infinity { best = (mode, penalty) }
      }
    }
    return best?.mode
  }

  private static func isUsable(_ size: CameraSize, _ format: CameraFormat) -> Bool {
    let sides = 1...PictureFormat.maximumSide
    guard sides.contains(size.width), sides.contains(size.height) else { return false }
    switch format.fourcc {
    case "YUYV": return size.width % 2 == 0
    case "NV12", "YU12": return size.width % 2 == 0 && size.height % 2 == 0
    default: return true
    }
  }

  /// The slowest rate that is fast enough, else the fastest.
  private static func bestRate(_ rates: [Double], _ wanted: Double) -> Double? {
    // A camera's "30" may be 29.97.
    rates.filter { $0 >= wanted * 0.99 }.min() ?? rates.max()
  }

  private func penalty(_ wish: Wish) -> Double {
    var sum = 0.0
    let covered = min(1, Double(width) / Double(wish.width)) * min(1, Double(height) / Double(wish.height))
    // Shapes of models are only near those of cameras: a little too small is not seen.
    if covered < 0.95 { sum += 0.25 + 2 * (1 - covered) }
    let excess = Double(width * height) / Double(wish.width * wish.height)
    if excess > 1 { sum += 0.5 * log2(excess) }
    let shapes = (Double(width * wish.height), Double(wish.width * height))
    sum += 1 - min(shapes.0, shapes.1) / max(shapes.0, shapes.1)
    if let rate { sum += 4 * max(0, 1 - rate / (wish.rate * 0.99)) }
    return sum + 0.02 * Double(rank(wish))
  }

  /// Formats from cheap to dear.
  private func rank(_ wish: Wish) -> Int {
    let isLarge = width * height >= 1280 * 720
    let order =
      wish.prefersJPEG || isLarge
      ? ["MJPG", "JPEG", "YUYV", "NV12", "YU12", "RGB3"] : ["YUYV", "NV12", "YU12", "RGB3", "MJPG", "JPEG"]
    return order.firstIndex(of: fourcc) ?? order.count
  }
}
