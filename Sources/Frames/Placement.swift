/// How a picture of one shape fills another.
public enum Fit: String, Sendable, CaseIterable {
  /// Fills the target and cuts off what does not fit.
  case cover
  /// Shows the whole picture, with black bars where it leaves room.
  case contain
}

extension Fit {
  /// How pictures are best shown where only shapes differ by chance: bars too narrow to be meant are left
  /// out, and as little is cut off instead.
  public static func showing(_ source: PictureFormat, in target: PictureFormat) -> Fit {
    let (a, b) = (source.width * target.height, target.width * source.height)
    return abs(a - b) * narrowest <= max(a, b) ? .cover : .contain
  }

  /// Bars of less than one part of so many.
  private static let narrowest = 20
}

/// A rectangle of pixels.
public struct Area: Equatable, Sendable {
  public var x: Int
  public var y: Int
  public var width: Int
  public var height: Int
  public init(x: Int, y: Int, width: Int, height: Int) {
    self.x = x
    self.y = y
    self.width = width
    self.height = height
  }
}

/// Which part of a source goes to which part of a target.
public struct Placement: Equatable, Sendable {
  /// The part of the source that is shown.
  public var crop: Area
  /// The part of the target that it fills.
  public var inner: Area

  /// Sides are centred. Edges fall on whole chroma samples of both layouts (`jpeg` counts as full
  /// resolution).
  public init(_ fit: Fit, from source: PictureFormat, to target: PictureFormat) {
    crop = Area(x: 0, y: 0, width: source.width, height: source.height)
    inner = Area(x: 0, y: 0, width: target.width, height: target.height)
    switch fit {
    case .cover: crop = Placement.centred(aspect: target, in: source)
    case .contain: inner = Placement.centred(aspect: source, in: target)
    }
  }

  /// The largest centred rectangle of `outer` that has the shape of `aspect`.
  private static func centred(aspect: PictureFormat, in outer: PictureFormat) -> Area {
    var width = outer.width
    var height = outer.height
    // Compared as products: a ratio would round.
    if outer.width * aspect.height > aspect.width * outer.height {
      width = (outer.height * aspect.width + aspect.height / 2) / aspect.height
    } else {
      height = (outer.width * aspect.height + aspect.width / 2) / aspect.width
    }
    let (stepX, stepY) = outer.pixels.chromaStep
    width = max(stepX, min(width, outer.width) / stepX * stepX)
    height = max(stepY, min(height, outer.height) / stepY * stepY)
    return Area(
      x: (outer.width - width) / 2 / stepX * stepX, y: (outer.height - height) / 2 / stepY * stepY,
      width: width, height: height)
  }
}

extension PixelFormat {
  /// Pixels that one chroma sample covers, across and down.
  var chromaStep: (x: Int, y: Int) {
    switch self {
    case .jpeg, .rgb24: return (1, 1)
    case .yuyv: return (2, 1)
    case .nv12, .i420: return (2, 2)
    }
  }
}

extension PictureFormat {
  /// The longest side that anything here works on.
  public static let maximumSide = 16384
  /// The most pixels that a JPEG may have: a progressive one costs its decoder several bytes for each.
  public static let maximumPixels = 1 << 26

  /// Throws unless sides are in bounds and whole in chroma samples.
  func check(_ attempt: String) throws {
    let sides = 1...PictureFormat.maximumSide
    guard sides.contains(width), sides.contains(height) else {
      throw FrameError(
        .unsupported, attempt, "\(self), but sides must be 1 to \(PictureFormat.maximumSide)")
    }
    let step = pixels.chromaStep
    guard width % step.x == 0, height % step.y == 0 else {
      throw FrameError(
        .unsupported, attempt,
        "\(self), but \(pixels) needs an even "
          + (step.y == 2 ? "width and height" : "width"))
    }
  }
}
