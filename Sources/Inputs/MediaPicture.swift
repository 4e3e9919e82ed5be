import CAV
import Frames
import Glibc

/// Brings pictures that libav decoded into our layouts: 4:2:0 as it is, everything else as rgb24. What is set
/// up for one kind of picture is kept until another kind comes.
final class MediaPicture {
  private let wanted: (width: Int, height: Int)?
  private var key: Key?
  private var scaler: OpaquePointer?
  private(set) var format = PictureFormat(.rgb24, width: 0, height: 0)
  private var orientation = Orientation()
  /// rgb24 with rows on cache lines: swscale's vector loops write past rows, and not to every address.
  private var scratch = Scratch()
  private var staged: UnsafeMutableRawBufferPointer?
  private var stagedStride = 0

  fileprivate struct Key: Equatable {
    var format: Int32
    var width: Int32
    var height: Int32
    var matrix: Int32
    var isFullRange: Bool
    var orientation: Orientation
    /// The width in square pixels.
    var shownWidth: Int32
  }

  /// Neither side is made smaller than this: the size that is wanted may grow while a film plays, but what is
  /// larger than models paint costs too much to convert as it is, every frame.
  private static let leastSide = 1080

  /// Pictures much larger than `wanted` are made smaller on the way, never below it nor below `leastSide`.
  init(wanted: (width: Int, height: Int)? = nil) { self.wanted = wanted }
  deinit { sws_freeContext(scaler) }

  /// Looks at the reader's picture; afterwards `format` and `byteCount` say what `write` will give.
  func prepare(_ reader: MediaReader) throws {
    let (frame, place) = (reader.frame, reader.place)
    let own = Orientation(frame.displayMatrix)
    let orientation = own.isUpright ? reader.orientation : own
    let picture = frame.pointee
    let key = Key(
      format: picture.format, width: picture.width, height: picture.height,
      matrix: picture.matrix, isFullRange: picture.isFullRange, orientation: orientation,
      shownWidth: reader.pixelAspect.shownWidth(picture.width, picture.height))
    guard key != self.key else { return }
    // Where this fails nothing is set up, also not what was.
    self.key = nil
    try MediaReader.checkSize(Int(picture.width), Int(picture.height), place)
    self.orientation = orientation
    if let format = key.directFormat {
      self.format = format
    } else {
      try prepareScaler(key, place)
    }
    self.key = key
  }

  var byteCount: Int { format.pixels.byteCount(width: format.width, height: format.height)! }

  /// Writes the picture that `prepare` saw, `byteCount` bytes. False where libav cannot convert it.
  func write(_ frame: UnsafeMutablePointer<AVFrame>, into target: UnsafeMutableRawBufferPointer) -> Bool {
    guard target.count >= byteCount, let base = target.baseAddress else { return false }
    let goal = base.assumingMemoryBound(to: UInt8.self)
    if format.pixels == .rgb24 { return scale(frame, into: goal) }
    copyPlanes(frame, into: goal)
    return true
  }

  // MARK: - Planes as they are

  private func copyPlanes(_ frame: UnsafeMutablePointer<AVFrame>, into target: UnsafeMutablePointer<UInt8>) {
    let (width, height) = (format.width, format.height)
    var goal = target
    func copy(_ source: UnsafeMutablePointer<UInt8>?, _ stride: Int32, _ count: Int, rows: Int) {
      guard let source else { return }
      for row in 0..<rows {
        memcpy(goal, source + row * Int(stride), count)
        goal += count
      }
    }
    let (data, strides) = (frame.pointee.data, frame.pointee.linesize)
    copy(data.0, strides.0, width, rows: height)
    if format.pixels == .nv12 {
      copy(data.1, strides.1, width, rows: height / 2)
    } else {
      copy(data.1, strides.1, width / 2, rows: height / 2)
      copy(data.2, strides.2, width / 2, rows: height / 2)
    }
  }

  // MARK: - Everything else

  private func prepareScaler(_ key: Key, _ place: MediaPlace) throws {
    let size = reduced(Int(key.shownWidth), Int(key.height), orientation)
    let flags = SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT
    sws_freeContext(scaler)
    scaler = sws_getContext(
      key.width, key.height, AVPixelFormat(key.format), Int32(size.width), Int32(size.height),
      AV_PIX_FMT_RGB24, flags, nil, nil, nil)
    guard let scaler else {
      throw InputError(
        .wrongKind, "reading \(place)", "its pixel format \(key.format) cannot be converted",
        remedy: "convert it with ffmpeg -pix_fmt yuv420p")
    }
    sws_setColorspaceDetails(
      scaler, sws_getCoefficients(key.matrix), key.isFullRange ? 1 : 0,
      sws_getCoefficients(SWS_CS_ITU601), 1, 0, 1 << 16, 1 << 16)
    stagedStride = (size.width * 3 + 63) / 64 * 64
    let count = stagedStride * size.height
    staged = try? scratch.reserve(count)
    guard staged != nil else {
      throw InputError(.failed, "reading \(place)", "\(count) bytes of memory refused", remedy: "")
    }
    stagedSize = size
    format =
      orientation.isTransposed
      ? PictureFormat(.rgb24, width: size.height, height: size.width)
      : PictureFormat(.rgb24, width: size.width, height: size.height)
  }
  private var stagedSize = (width: 0, height: 0)

  /// The size that still covers what is wanted.
  private func reduced(_ width: Int, _ height: Int, _ orientation: Orientation) -> (width: Int, height: Int) {
    guard let wanted else { return (width, height) }
    let (w, h) = orientation.isTransposed ? (wanted.height, wanted.width) : wanted
    let least = Self.leastSide
    let factor = max(Double(max(w, least)) / Double(width), Double(max(h, least)) / Double(height))
    guard factor < 1, factor > 0 else { return (width, height) }
    return (Int((Double(width) * factor).rounded(.up)), Int((Double(height) * factor).rounded(.up)))
  }

  /// False where nothing was converted.
  private func scale(
    _ frame: UnsafeMutablePointer<AVFrame>, into target: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    guard let scaler, let rows = staged?.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
      return false
    }
    var converted: Int32 = 0
    withUnsafePointer(to: &frame.pointee.data) { data in
      withUnsafePointer(to: &frame.pointee.linesize) { strides in
        data.withMemoryRebound(to: UnsafePointer<UInt8>?.self, capacity: 8) { data in
          strides.withMemoryRebound(to: Int32.self, capacity: 8) { strides in
            var goal:
              (
                UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?,
                UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?
              ) = (rows, nil, nil, nil)
            var goalStrides: (Int32, Int32, Int32, Int32) = (Int32(stagedStride), 0, 0, 0)
            withUnsafeMutableBytes(of: &goal) { goal in
              withUnsafeMutableBytes(of: &goalStrides) { goalStrides in
                converted = sws_scale(
                  scaler, data, strides, 0, frame.pointee.height,
                  goal.assumingMemoryBound(to: UnsafeMutablePointer<UInt8>?.self).baseAddress,
                  goalStrides.assumingMemoryBound(to: Int32.self).baseAddress)
              }
            }
          }
        }
      }
    }
    guard converted > 0 else { return false }
    let (width, height) = stagedSize
    guard orientation.isUpright else {
      orientation.turn(rows, width: width, height: height, stride: stagedStride, into: target)
      return true
    }
    for row in 0..<height { memcpy(target + row * width * 3, rows + row * stagedStride, width * 3) }
    return true
  }
}

extension MediaPicture {
  /// Standard-definition video that says nothing means BT.601, larger video BT.709.
  fileprivate static let largestStandardHeight = 576
}

extension AVRational {
  /// Wider or narrower pixels than any standard's are a mistake.
  private static let believable = 0.2...5.0
  /// Encoders round sizes, and then claim pixels that are nearly square.
  private static let roundingError = 0.01

  /// Of the shape of a pixel: whether it is a square, or nothing that can be believed.
  var isSquare: Bool {
    guard num > 0, den > 0 else { return true }
    let ratio = Double(num) / Double(den)
    return !Self.believable.contains(ratio) || abs(ratio - 1) <= Self.roundingError
  }

  /// The width in square pixels of a picture that has pixels of this shape, within the bounds of pictures.
  fileprivate func shownWidth(_ width: Int32, _ height: Int32) -> Int32 {
    guard !isSquare, height > 0 else { return width }
    let most = min(PictureFormat.maximumSide, PictureFormat.maximumPixels / Int(height))
    return Int32(min(max(1, Int(width) * Int(num) / Int(den)), most))
  }
}

extension AVFrame {
  /// One of swscale's SWS_CS numbers, which are those of the standard.
  fileprivate var matrix: Int32 {
    switch colorspace {
    case AVCOL_SPC_BT709: return SWS_CS_ITU709
    case AVCOL_SPC_BT470BG, AVCOL_SPC_SMPTE170M: return SWS_CS_ITU601
    case AVCOL_SPC_FCC: return SWS_CS_FCC
    case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M
    case AVCOL_SPC_BT2020_NCL, AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020
    default:
      // JPEG's own standard, JFIF, is BT.601 at any size.
      return isFullRange || height <= MediaPicture.largestStandardHeight ? SWS_CS_ITU601 : SWS_CS_ITU709
    }
  }

  fileprivate var isFullRange: Bool {
    switch format {
    case AV_PIX_FMT_YUVJ420P.rawValue, AV_PIX_FMT_YUVJ422P.rawValue, AV_PIX_FMT_YUVJ444P.rawValue,
      AV_PIX_FMT_YUVJ440P.rawValue, AV_PIX_FMT_YUVJ411P.rawValue:
      return true
    case AV_PIX_FMT_GRAY8.rawValue, AV_PIX_FMT_YA8.rawValue, AV_PIX_FMT_YA16BE.rawValue,
      AV_PIX_FMT_YA16LE.rawValue, AV_PIX_FMT_GRAY9BE.rawValue, AV_PIX_FMT_GRAY9LE.rawValue,
      AV_PIX_FMT_GRAY10BE.rawValue, AV_PIX_FMT_GRAY10LE.rawValue, AV_PIX_FMT_GRAY12BE.rawValue,
      AV_PIX_FMT_GRAY12LE.rawValue, AV_PIX_FMT_GRAY14BE.rawValue, AV_PIX_FMT_GRAY14LE.rawValue,
      AV_PIX_FMT_GRAY16BE.rawValue, AV_PIX_FMT_GRAY16LE.rawValue:
      // Grey pictures seldom say, and are full; swscale takes them so by itself, too.
      return color_range != AVCOL_RANGE_MPEG
    default: return color_range == AVCOL_RANGE_JPEG
    }
  }
}

extension MediaPicture.Key {
  /// What these planes already are, nil where they must be converted.
  fileprivate var directFormat: PictureFormat? {
    guard orientation.isUpright, width % 2 == 0, height % 2 == 0, shownWidth == width, let pixels,
      let encoding
    else { return nil }
    return PictureFormat(pixels, width: Int(width), height: Int(height), encoding: encoding)
  }

  private var pixels: PixelFormat? {
    switch format {
    case AV_PIX_FMT_YUV420P.rawValue, AV_PIX_FMT_YUVJ420P.rawValue: return .i420
    case AV_PIX_FMT_NV12.rawValue: return .nv12
    default: return nil
    }
  }

  private var encoding: ColorEncoding? {
    switch matrix {
    case SWS_CS_ITU601: return ColorEncoding(.bt601, isFullRange: isFullRange)
    case SWS_CS_ITU709: return ColorEncoding(.bt709, isFullRange: isFullRange)
    case SWS_CS_SMPTE240M: return ColorEncoding(.smpte240M, isFullRange: isFullRange)
    case SWS_CS_BT2020: return ColorEncoding(.bt2020, isFullRange: isFullRange)
    default: return nil
    }
  }
}
