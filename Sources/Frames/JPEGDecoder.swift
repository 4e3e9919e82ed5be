import CAV
import CTurboJPEG
import Glibc

/// Decodes JPEGs with libturbojpeg. One decoder serves one thread.
///
/// What the library only warns of (data that ends early, codes that do not exist) is an error here: the
/// picture would be half grey. Scratch memory grows with the first pictures and is kept.
public final class JPEGDecoder {
  /// What a JPEG's header says.
  public struct Info: Equatable, Sendable {
    public var width: Int
    public var height: Int
    /// libturbojpeg's `TJSAMP`.
    var subsampling: Int32
    /// libturbojpeg's `TJCS`.
    var colorspace: Int32
  }

  private var handle: tjhandle
  /// A copy with Huffman tables, for frames that came without.
  private var completed = Scratch()
  private var planes = Scratch()

  public init() throws { handle = try JPEGDecoder.makeHandle() }
  deinit { tjDestroy(handle) }

  private static func makeHandle() throws -> tjhandle {
    guard let handle = tjInitDecompress() else {
      throw FrameError(.library, "starting libturbojpeg", String(cString: tjGetErrorStr2(nil)))
    }
    return handle
  }

  /// Reads the header. Throws `.corrupt`, or `.unsupported` for a size out of bounds.
  public func info(_ jpeg: UnsafeRawBufferPointer) throws -> Info {
    var width: Int32 = 0
    var height: Int32 = 0
    var subsampling: Int32 = 0
    var colorspace: Int32 = 0
    let bytes = jpeg.bindMemory(to: UInt8.self)
    guard jpeg.count >= 4, jpeg[0] == 0xFF, jpeg[1] == 0xD8 else {
      throw FrameError(.corrupt, "reading a JPEG's header", "\(jpeg.count) bytes that do not start with SOI")
    }
    try check(
      tjDecompressHeader3(
        handle, bytes.baseAddress, UInt(jpeg.count), &width, &height, &subsampling, &colorspace),
      "reading a JPEG's header")
    let info = Info(
      width: Int(width), height: Int(height), subsampling: subsampling, colorspace: colorspace)
    let sides = 1...PictureFormat.maximumSide
    guard sides.contains(info.width), sides.contains(info.height),
      info.width * info.height <= PictureFormat.maximumPixels
    else {
      throw FrameError(
        .unsupported, "reading a JPEG's header",
        "\(width)x\(height) pixels, more than \(PictureFormat.maximumSide) a side "
          + "or \(PictureFormat.maximumPixels) in all")
    }
    return info
  }

  /// Decodes the whole picture to rgb24, rows without padding. `target` needs width · height · 3 bytes.
  @discardableResult
  public func decode(
    _ jpeg: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
  ) throws -> Info {
    let jpeg = try withTables(jpeg)
    let info = try info(jpeg)
    try decode(jpeg, width: info.width, height: info.height, into: target)
    return info
  }

  /// Whether the whole picture decodes. Cheaper than `decode`: an eighth of the size is enough to see all
  /// data.
  public func isWhole(_ jpeg: UnsafeRawBufferPointer) -> Bool {
    do {
      let jpeg = try withTables(jpeg)
      let info = try info(jpeg)
      let width = (info.width + 7) / 8
      let height = (info.height + 7) / 8
      let room = try planes.reserve(width * height * 3)
      try decode(jpeg, width: width, height: height, into: room)
      return true
    } catch {
      return false
    }
  }

  /// Decodes to rgb24 at `width` x `height`, which must be a DCT scale of the picture's size.
  func decode(
    _ jpeg: UnsafeRawBufferPointer, width: Int, height: Int, into target: UnsafeMutableRawBufferPointer
  ) throws {
    guard target.count >= width * height * 3 else {
      throw FrameError(.tooSmall, "decoding a JPEG", "\(width)x\(height) into \(target.count) bytes")
    }
    try check(
      tjDecompress2(
        handle, jpeg.bindMemory(to: UInt8.self).baseAddress, UInt(jpeg.count),
        target.bindMemory(to: UInt8.self).baseAddress, Int32(width), Int32(width * 3), Int32(height),
        Int32(TJPF_RGB.rawValue), TJFLAG_LIMITSCANS),
      "decoding a JPEG")
  }

  /// Decodes to full-range planes of Y, Cb and Cr at `width` x `height`, in memory that the next call reuses.
  func decodePlanes(
    _ jpeg: UnsafeRawBufferPointer, _ info: Info, width: Int, height: Int
  ) throws -> Planes {
    var result = Planes()
    var offsets = (0, 0, 0)
    var total = 0
    for component in 0..<(info.subsampling == Int32(TJSAMP_GRAY.rawValue) ? 1 : 3) {
      let stride = tjPlaneWidth(Int32(component), Int32(width), info.subsampling)
      let count = tjPlaneSizeYUV(Int32(component), Int32(width), stride, Int32(height), info.subsampling)
      guard stride > 0, count != UInt.max else {
        throw FrameError(.unsupported, "decoding a JPEG", "planes of \(width)x\(height)")
      }
      result.strides[component] = stride
      switch component {
      case 0: offsets.0 = total
      case 1: offsets.1 = total
      default: offsets.2 = total
      }
      // Each plane starts on a cache line.
      total += (Int(count) + 63) / 64 * 64
    }
    let base = try planes.reserve(total).bindMemory(to: UInt8.self).baseAddress!
    result.pointers[0] = base + offsets.0
    if result.strides[1] > 0 {
      result.pointers[1] = base + offsets.1
      result.pointers[2] = base + offsets.2
    }
    var targets = (result.pointers[0], result.pointers[1], result.pointers[2])
    var strides = (result.strides[0], result.strides[1], result.strides[2])
    let failure = withUnsafeMutablePointer(to: &targets) { targets in
      targets.withMemoryRebound(to: UnsafeMutablePointer<UInt8>?.self, capacity: 3) { targets in
        withUnsafeMutablePointer(to: &strides) { strides in
          strides.withMemoryRebound(to: Int32.self, capacity: 3) { strides in
            tjDecompressToYUVPlanes(
              handle, jpeg.bindMemory(to: UInt8.self).baseAddress, UInt(jpeg.count), targets, Int32(width),
              strides, Int32(height), TJFLAG_LIMITSCANS)
          }
        }
      }
    }
    try check(failure, "decoding a JPEG")
    return result
  }

  /// The JPEG itself, or a copy with the standard tables, valid until the next call.
  func withTables(_ jpeg: UnsafeRawBufferPointer) throws -> UnsafeRawBufferPointer {
    guard JPEGTables.insertionPoint(in: jpeg) != nil else { return jpeg }
    let room = try completed.reserve(jpeg.count + JPEGTables.addedByteCount)
    let count = JPEGTables.complete(jpeg, into: room) ?? 0
    return UnsafeRawBufferPointer(rebasing: room[..<count])
  }

  private func check(_ result: Int32, _ attempt: String) throws {
    guard result != 0 else { return }
    let words = String(cString: tjGetErrorStr2(handle))
    // Many webcams pad the last segment. The library reports its first warning only, so nothing worse came
    // before this one, and by the end-of-image marker every block was decoded.
    if tjGetErrorCode(handle) == Int32(TJERR_WARNING.rawValue),
      words.contains("extraneous bytes before marker 0xd9")
    {
      return
    }
    // After a bad header version 2.1 goes on where it stopped, so the next good picture would fail too.
    let fresh = try JPEGDecoder.makeHandle()
    tjDestroy(handle)
    handle = fresh
    throw FrameError(.corrupt, attempt, words)
  }
}
