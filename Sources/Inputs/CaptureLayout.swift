import CV4L2
import Frames
import Glibc

/// How a camera's buffers hold a picture, and how that becomes a frame.
struct CaptureLayout {
  /// The driver's name for it.
  let fourcc: FourCC
  /// What frames of this camera are.
  let format: PictureFormat
  /// Most bytes of a frame.
  let capacity: Int
  private let way: Way

  private enum Way {
    case jpeg
    /// Rows of `stride` bytes, copied without their padding.
    case raw(stride: Int)
    case converted(Conversion)
  }

  /// From what VIDIOC_S_FMT answered for one of the formats we know.
  init(native pix: v4l2_pix_format, _ path: String) throws {
    let attempt = "setting the format of camera \(path)"
    let code = FourCC(pix.pixelformat)
    fourcc = code
    guard let pixels = code.pixels else {
      throw InputError(
        .unavailable, attempt, "the driver insists on \(code) \(pix.width)x\(pix.height)",
        remedy: "end the program that holds the camera to that format")
    }
    format = PictureFormat(
      pixels, width: Int(pix.width), height: Int(pix.height),
      encoding: pixels.isYUV ? ColorEncoding(pix) : .standard)
    let sides = 1...PictureFormat.maximumSide
    guard sides.contains(format.width), sides.contains(format.height) else {
      throw InputError(
        .wrongKind, attempt, "the driver answers \(format)", remedy: "choose another size with --size")
    }
    guard let byteCount = pixels.byteCount(width: format.width, height: format.height) else {
      // A JPEG has no fixed size: trust the driver's bound, but for drivers that give none.
      capacity = max(Int(pix.sizeimage), format.width * format.height) + JPEGTables.addedByteCount
      way = .jpeg
      return
    }
    let tight = pixels.rowByteCount(format.width)
    let stride = max(tight, Int(pix.bytesperline))
    let isOdd =
      pixels != .rgb24 && format.width % 2 != 0 || pixels.isVerticallyHalved && format.height % 2 != 0
    guard !isOdd, stride * format.height <= Int(pix.sizeimage) else {
      throw InputError(
        .wrongKind, attempt, "the driver answers \(format), \(stride) bytes a row, \(pix.sizeimage) in all",
        remedy: "choose another size with --size")
    }
    capacity = byteCount
    way = .raw(stride: stride)
  }

  /// For a format that only libv4lconvert knows.
  init(conversion: Conversion) {
    fourcc = FourCC(conversion.source.fmt.pix.pixelformat)
    format = conversion.target
    capacity = format.pixels.byteCount(width: format.width, height: format.height)!
    way = .converted(conversion)
  }

  /// The picture in a buffer, without padding behind it.
  func picture(in buffer: UnsafeMutableRawBufferPointer) -> UnsafeMutableRawBufferPointer {
    guard case .jpeg = way else { return buffer }
    return UnsafeMutableRawBufferPointer(mutating: UnsafeRawBufferPointer(buffer).trimmedJPEG)
  }

  /// Copies or converts one picture to `target`, at least `capacity` bytes. Gives the bytes written, or nil for
  /// a picture that is not whole.
  func take(_ bytes: UnsafeMutableRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int? {
    switch way {
    case .jpeg: return JPEGTables.complete(UnsafeRawBufferPointer(bytes), into: target)
    case .raw(let stride): return format.copyRows(bytes, stride: stride, into: target)
    case .converted(let conversion): return conversion.convert(bytes, into: target)
    }
  }
}

extension UnsafeRawBufferPointer {
  /// Without the zeros that some cameras put behind the end-of-image marker.
  var trimmedJPEG: UnsafeRawBufferPointer {
    var end = count
    while end > JPEGCheck.minimumByteCount, self[end - 1] == 0 { end -= 1 }
    return UnsafeRawBufferPointer(rebasing: self[..<end])
  }
}

extension ColorEncoding {
  /// What a driver says of a picture, by V4L2_MAP_YCBCR_ENC_DEFAULT and V4L2_MAP_QUANTIZATION_DEFAULT of videodev2.h
  /// where it leaves that to its colour space.
  init(_ pix: v4l2_pix_format) {
    let isFullRange =
      pix.quantization == V4L2_QUANTIZATION_DEFAULT.rawValue
      ? pix.colorspace == V4L2_COLORSPACE_JPEG.rawValue
      : pix.quantization == V4L2_QUANTIZATION_FULL_RANGE.rawValue
    self.init(Self.matrix(pix.ycbcr_enc) ?? Self.matrix(colorSpace: pix.colorspace), isFullRange: isFullRange)
  }

  private static func matrix(_ encoding: UInt32) -> Matrix? {
    switch v4l2_ycbcr_encoding(encoding) {
    case V4L2_YCBCR_ENC_601, V4L2_YCBCR_ENC_XV601: return .bt601
    case V4L2_YCBCR_ENC_709, V4L2_YCBCR_ENC_XV709: return .bt709
    case V4L2_YCBCR_ENC_BT2020, V4L2_YCBCR_ENC_BT2020_CONST_LUM: return .bt2020
    case V4L2_YCBCR_ENC_SMPTE240M: return .smpte240M
    default: return nil
    }
  }

  private static func matrix(colorSpace: UInt32) -> Matrix {
    switch v4l2_colorspace(colorSpace) {
    case V4L2_COLORSPACE_REC709, V4L2_COLORSPACE_DCI_P3: return .bt709
    case V4L2_COLORSPACE_BT2020: return .bt2020
    case V4L2_COLORSPACE_SMPTE240M: return .smpte240M
    default: return .bt601
    }
  }
}

extension PixelFormat {
  /// Bytes of a row of the first plane, without padding.
  fileprivate func rowByteCount(_ width: Int) -> Int {
    switch self {
    case .jpeg: return 0
    case .rgb24: return width * 3
    case .yuyv: return width * 2
    case .nv12, .i420: return width
    }
  }
  fileprivate var isVerticallyHalved: Bool { self == .nv12 || self == .i420 }
}

extension PictureFormat {
  /// Copies a picture whose rows take `stride` bytes each; nil where `bytes` end before it does.
  fileprivate func copyRows(
    _ bytes: UnsafeMutableRawBufferPointer, stride: Int, into target: UnsafeMutableRawBufferPointer
  ) -> Int? {
    guard let total = pixels.byteCount(width: width, height: height), target.count >= total,
      let from = bytes.baseAddress, let to = target.baseAddress
    else { return nil }
    let row = pixels.rowByteCount(width)
    if stride == row {
      guard bytes.count >= total else { return nil }
      memcpy(to, from, total)
      return total
    }
    guard bytes.count >= paddedByteCount(stride) else { return nil }
    var source = from
    var goal = to
    func copy(rows: Int, _ count: Int, _ stride: Int) {
      for _ in 0..<rows {
        memcpy(goal, source, count)
        source += stride
        goal += count
      }
    }
    copy(rows: height, row, stride)
    switch pixels {
    case .nv12: copy(rows: height / 2, row, stride)
    case .i420: copy(rows: height, row / 2, stride / 2)
    case .jpeg, .rgb24, .yuyv: break
    }
    return total
  }

  private func paddedByteCount(_ stride: Int) -> Int {
    switch pixels {
    case .nv12: return stride * height + stride * (height / 2)
    case .i420: return stride * height + stride / 2 * height
    case .jpeg, .rgb24, .yuyv: return stride * height
    }
  }
}
