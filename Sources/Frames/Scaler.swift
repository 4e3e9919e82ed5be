import CAV

/// One swscale context: from one layout and size to another.
final class Scaler {
  /// A layout as libav names it. RGB is of full range.
  struct Side: Equatable {
    var format: AVPixelFormat
    var encoding: ColorEncoding
    var width: Int
    var height: Int
  }
  private let context: OpaquePointer
  /// swscale goes from one matrix to another by way of RGB, and does so only where it gets the whole picture
  /// at once.
  let takesParts: Bool

  init(from source: Side, to target: Side) throws {
    guard let context = Scaler.makeContext(source, target) else {
      throw FrameError(
        .library, "setting up swscale",
        "from \(source.width)x\(source.height) to \(target.width)x\(target.height) refused")
    }
    self.context = context
    takesParts =
      source.encoding.matrix == target.encoding.matrix || source.format == AV_PIX_FMT_RGB24
      || target.format == AV_PIX_FMT_RGB24
    sws_setColorspaceDetails(
      context, source.coefficients, source.range, target.coefficients, target.range, 0, 1 << 16, 1 << 16)
  }
  deinit { sws_freeContext(context) }

  /// Not by `sws_getContext`, which is not told the ranges: where the sizes agree it settles on a copy that
  /// leaves them as they are.
  private static func makeContext(_ source: Side, _ target: Side) -> OpaquePointer? {
    guard let context = sws_alloc_context() else { return nil }
    // Bilinear averages over all source pixels when it makes a picture smaller, despite its name.
    var flags = SWS_BILINEAR | SWS_ACCURATE_RND
    if target.format == AV_PIX_FMT_RGB24 { flags |= SWS_FULL_CHR_H_INT }
    let options = [
      ("srcw", source.width), ("srch", source.height), ("src_format", Int(source.format.rawValue)),
      ("src_range", Int(source.range)), ("dstw", target.width), ("dsth", target.height),
      ("dst_format", Int(target.format.rawValue)), ("dst_range", Int(target.range)),
      ("sws_flags", Int(flags)),
    ]
    let areSet = options.allSatisfy { name, value in
      av_opt_set_int(UnsafeMutableRawPointer(context), name, Int64(value), 0) >= 0
    }
    guard areSet, sws_init_context(context, nil, nil) >= 0 else {
      sws_freeContext(context)
      return nil
    }
    return context
  }

  /// Reads `height` rows of `source`, from row `first` on, and writes what of `target` they decide. Rows come
  /// in order from the top, the whole or, where that `takesParts`, a part of the picture at a time.
  func scale(_ source: Planes, from first: Int = 0, rows height: Int, into target: Planes) {
    var from = source.pointers
    var fromStrides = source.strides
    var to = target.pointers
    var toStrides = target.strides
    withUnsafeMutableBytes(of: &from) { from in
      withUnsafeMutableBytes(of: &fromStrides) { fromStrides in
        withUnsafeMutableBytes(of: &to) { to in
          withUnsafeMutableBytes(of: &toStrides) { toStrides in
            _ = sws_scale(
              context, from.bindMemory(to: UnsafePointer<UInt8>?.self).baseAddress,
              fromStrides.bindMemory(to: Int32.self).baseAddress, Int32(first), Int32(height),
              to.bindMemory(to: UnsafeMutablePointer<UInt8>?.self).baseAddress,
              toStrides.bindMemory(to: Int32.self).baseAddress)
          }
        }
      }
    }
  }
}

extension Scaler.Side {
  fileprivate var range: Int32 { encoding.isFullRange ? 1 : 0 }

  fileprivate var coefficients: UnsafePointer<Int32>? {
    switch encoding.matrix {
    case .bt601: return sws_getCoefficients(SWS_CS_ITU601)
    case .bt709: return sws_getCoefficients(SWS_CS_ITU709)
    case .smpte240M: return sws_getCoefficients(SWS_CS_SMPTE240M)
    case .bt2020: return sws_getCoefficients(SWS_CS_BT2020)
    }
  }
}

extension PixelFormat {
  /// nil for `jpeg`, which is no layout of pixels.
  var libav: AVPixelFormat? {
    switch self {
    case .jpeg: return nil
    case .rgb24: return AV_PIX_FMT_RGB24
    case .yuyv: return AV_PIX_FMT_YUYV422
    case .nv12: return AV_PIX_FMT_NV12
    case .i420: return AV_PIX_FMT_YUV420P
    }
  }
}
