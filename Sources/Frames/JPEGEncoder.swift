import CTurboJPEG

/// Turns raw pictures into JPEG files with libturbojpeg. One thread at a time.
///
/// YUV in the standard encoding (BT.601, limited range: Y 16…235, U and V 16…240) is stretched to JFIF's full
/// range; in another it goes by way of RGB, which is of full range already. Scratch memory is made for the
/// first picture of a size and kept.
public final class JPEGEncoder {
  private let handle: tjhandle
  private let quality: Int32
  private var planes = Scratch()
  /// For YUV that is not in the standard encoding.
  private var converter: PictureConverter?
  private var converted = Scratch()

  /// `quality` from 1 to 100, as in libjpeg.
  public init(quality: Int) throws {
    guard (1...100).contains(quality) else {
      throw FrameError(.unsupported, "encoding JPEG", "quality \(quality) is not between 1 and 100")
    }
    guard let handle = tjInitCompress() else {
      throw FrameError(.library, "encoding JPEG", "tjInitCompress: \(String(cString: tjGetErrorStr2(nil)))")
    }
    self.handle = handle
    self.quality = Int32(quality)
  }
  deinit { tjDestroy(handle) }

  /// Bytes that hold the largest JPEG libturbojpeg may make of a picture of `format`: what `encode` needs.
  /// For `.jpeg` itself, a bound for any sane JPEG of that size. 0 for sizes that no JPEG has.
  public static func capacity(for format: PictureFormat) -> Int {
    guard sides.contains(format.width), sides.contains(format.height) else { return 0 }
    return Int(tjBufSize(Int32(format.width), Int32(format.height), subsampling(of: format.pixels)))
  }

  /// Up to JPEG_MAX_DIMENSION.
  private static let sides = 1...65500

  /// Writes `bytes`, a whole raw picture of `format`, as one JPEG file to the start of `into` and gives its
  /// size. `into` holds at least `capacity(for: format)` bytes: libturbojpeg checks nothing smaller.
  public func encode(
    _ bytes: UnsafeRawBufferPointer, _ format: PictureFormat, into: UnsafeMutableRawBufferPointer
  ) throws -> Int {
    let (width, height) = (format.width, format.height)
    // A text only where something is wrong: this runs for every frame.
    var attempt: String { "encoding \(format)" }
    guard Self.sides.contains(width), Self.sides.contains(height) else {
      throw FrameError(.unsupported, attempt, "the sides of a JPEG are 1 to 65500 pixels")
    }
    guard let byteCount = format.pixels.byteCount(width: width, height: height) else {
      throw FrameError(.unsupported, attempt, "it is a JPEG already")
    }
    guard bytes.count >= byteCount, let source = bytes.baseAddress else {
      throw FrameError(.corrupt, attempt, "\(bytes.count) bytes of \(byteCount)")
    }
    let bound = Self.capacity(for: format)
    guard into.count >= bound, let target = into.baseAddress else {
      throw FrameError(.tooSmall, attempt, "room for \(into.count) bytes of \(bound)")
    }
    if format.pixels != .rgb24, width % 2 != 0 || (format.pixels != .yuyv && height % 2 != 0) {
      throw FrameError(.unsupported, attempt, "the sides of a subsampled picture are even")
    }
    if format.pixels.isYUV, format.encoding != .standard {
      let (rgb, picture) = try convert(bytes, format)
      return try encode(picture, rgb, into: into)
    }

    var file: UnsafeMutablePointer<UInt8>? = target.assumingMemoryBound(to: UInt8.self)
    var fileSize = UInt(into.count)
    let pixels = source.assumingMemoryBound(to: UInt8.self)
    let failure: Int32
    if format.pixels == .rgb24 {
      failure = tjCompress2(
        handle, pixels, Int32(width), 0, Int32(height), Int32(TJPF_RGB.rawValue), &file, &fileSize,
        Self.subsampling(of: .rgb24), quality, TJFLAG_NOREALLOC)
    } else {
      let planes = try spread(pixels, format)
      failure = withUnsafeTemporaryAllocation(of: UnsafePointer<UInt8>?.self, capacity: 3) { pointers in
        pointers[0] = planes.y
        pointers[1] = planes.u
        pointers[2] = planes.v
        return tjCompressFromYUVPlanes(
          handle, pointers.baseAddress, Int32(width), nil, Int32(height),
          Self.subsampling(of: format.pixels), &file, &fileSize, quality, TJFLAG_NOREALLOC)
      }
    }
    guard failure == 0 else {
      throw FrameError(.library, attempt, String(cString: tjGetErrorStr2(handle)))
    }
    return Int(fileSize)
  }

  /// The same picture as rgb24, whose JPEG is no larger.
  private func convert(
    _ bytes: UnsafeRawBufferPointer, _ format: PictureFormat
  ) throws -> (PictureFormat, UnsafeRawBufferPointer) {
    let rgb = PictureFormat(.rgb24, width: format.width, height: format.height)
    if converter?.target != rgb { converter = try PictureConverter(to: rgb) }
    let room = try converted.reserve(format.width * format.height * 3)
    try converter?.convert(bytes, format, into: room)
    return (rgb, UnsafeRawBufferPointer(room))
  }

  private static func subsampling(of pixels: PixelFormat) -> Int32 {
    switch pixels {
    case .yuyv, .jpeg: return Int32(TJSAMP_422.rawValue)
    case .rgb24, .nv12, .i420: return Int32(TJSAMP_420.rawValue)
    }
  }

  /// Full-range planes of a YUV picture.
  private func spread(
    _ source: UnsafePointer<UInt8>, _ format: PictureFormat
  ) throws -> (y: UnsafePointer<UInt8>, u: UnsafePointer<UInt8>, v: UnsafePointer<UInt8>) {
    let lumaCount = format.width * format.height
    let chromaCount = format.pixels == .yuyv ? lumaCount / 2 : lumaCount / 4
    let room = try planes.reserve(lumaCount + 2 * chromaCount)
    let y = room.baseAddress!.assumingMemoryBound(to: UInt8.self)
    let u = y + lumaCount
    let v = u + chromaCount
    switch format.pixels {
    case .yuyv:
      for i in 0..<chromaCount {
        y[2 &* i] = fullRangeLuma(source[4 &* i])
        u[i] = fullRangeChroma(source[4 &* i &+ 1])
        y[2 &* i &+ 1] = fullRangeLuma(source[4 &* i &+ 2])
        v[i] = fullRangeChroma(source[4 &* i &+ 3])
      }
    case .nv12:
      for i in 0..<lumaCount { y[i] = fullRangeLuma(source[i]) }
      let chroma = source + lumaCount
      for i in 0..<chromaCount {
        u[i] = fullRangeChroma(chroma[2 &* i])
        v[i] = fullRangeChroma(chroma[2 &* i &+ 1])
      }
    case .i420:
      for i in 0..<lumaCount { y[i] = fullRangeLuma(source[i]) }
      let chroma = source + lumaCount
      // U and V follow each other on both sides.
      for i in 0..<(2 &* chromaCount) { u[i] = fullRangeChroma(chroma[i]) }
    case .rgb24, .jpeg: break
    }
    return (UnsafePointer(y), UnsafePointer(u), UnsafePointer(v))
  }
}

/// Y 16…235 to 0…255; 76309 is 255/219 in 1/65536.
@inline(__always) private func fullRangeLuma(_ value: UInt8) -> UInt8 {
  UInt8(truncatingIfNeeded: min(max(((Int32(value) &- 16) &* 76309 &+ 32768) &>> 16, 0), 255))
}

/// U or V 16…240 to 1…255 around 128; 74606 is 255/224 in 1/65536.
@inline(__always) private func fullRangeChroma(_ value: UInt8) -> UInt8 {
  UInt8(truncatingIfNeeded: min(max(((Int32(value) &- 128) &* 74606 &+ 32768) &>> 16 &+ 128, 0), 255))
}
