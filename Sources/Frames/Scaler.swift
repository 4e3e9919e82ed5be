import CAV

/// One swscale context: from one layout and size to another.
final class Scaler {
  /// A layout as libav names it, and whether its Y reaches from 0 to 255.
  struct Side: Equatable {
    var format: AVPixelFormat
    var fullRange: Bool
    var width: Int
    var height: Int
  }
  private let context: OpaquePointer

  init(from source: Side, to target: Side) throws {
    guard let context = Scaler.makeContext(source, target) else {
      throw FrameError(
        .library, "setting up swscale",
        "from \(source.width)x\(source.height) to \(target.width)x\(target.height) refused")
    }
    self.context = context
    // BT.601 both ways: what webcams, JPEG and v4l2loopback's readers mean unless they say otherwise.
    let matrix = sws_getCoefficients(SWS_CS_ITU601)
    sws_setColorspaceDetails(
      context, matrix, source.fullRange ? 1 : 0, matrix, target.fullRange ? 1 : 0, 0, 1 << 16, 1 << 16)
  }
  deinit { sws_freeContext(context) }

  /// Not by `sws_getContext`, which is not told the ranges: where the sizes agree it settles on a copy that leaves
  /// them as they are.
  private static func makeContext(_ source: Side, _ target: Side) -> OpaquePointer? {
    guard let context = sws_alloc_context() else { return nil }
    // Bilinear averages over all source pixels when it makes a picture smaller, despite its name.
    var flags = SWS_BILINEAR | SWS_ACCURATE_RND
    if target.format == AV_PIX_FMT_RGB24 { flags |= SWS_FULL_CHR_H_INT }
    let options = [
      ("srcw", source.width), ("srch", source.height), ("src_format", Int(source.format.rawValue)),
      ("src_range", source.fullRange ? 1 : 0), ("dstw", target.width), ("dsth", target.height),
      ("dst_format", Int(target.format.rawValue)), ("dst_range", target.fullRange ? 1 : 0),
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

  /// Reads `height` rows of `source`, from row `first` on, and writes what of `target` they decide. Rows come in
  /// order from the top, a part of the picture or the whole at a time.
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
