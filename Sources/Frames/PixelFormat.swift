/// How the bytes of a picture are laid out. Names are V4L2's and libav's.
public enum PixelFormat: UInt8, Sendable {
  /// One JPEG file; the size in bytes varies from frame to frame.
  case jpeg
  /// 8-bit red, green, blue.
  case rgb24
  /// Y0 U Y1 V, 4:2:2, V4L2 `YUYV`, libav `yuyv422`.
  case yuyv
  /// A plane of Y, then interleaved U and V at half size, V4L2 `NV12`.
  case nv12
  /// Planes of Y, U and V, 4:2:0, V4L2 `YU12`, libav `yuv420p`.
  case i420

  /// Whether a `ColorEncoding` says what the bytes stand for; a JPEG is always as JFIF has it.
  public var isYUV: Bool {
    switch self {
    case .jpeg, .rgb24: return false
    case .yuyv, .nv12, .i420: return true
    }
  }

  /// Bytes of a whole picture, nil for `jpeg`. Width and height are even for the subsampled formats.
  public func byteCount(width: Int, height: Int) -> Int? {
    switch self {
    case .jpeg: return nil
    case .rgb24: return width * height * 3
    case .yuyv: return width * height * 2
    case .nv12, .i420: return width * height * 3 / 2
    }
  }
}

/// Size in pixels, layout and colours of a picture, rows without padding.
public struct PictureFormat: Hashable, Sendable, CustomStringConvertible {
  public var pixels: PixelFormat
  public var width: Int
  public var height: Int
  /// Of the YUV layouts; nothing to the others.
  public var encoding: ColorEncoding

  public init(
    _ pixels: PixelFormat, width: Int, height: Int, encoding: ColorEncoding = .standard
  ) {
    self.pixels = pixels
    self.width = width
    self.height = height
    self.encoding = encoding
  }
  public var description: String { "\(pixels) \(width)x\(height)" }
}
