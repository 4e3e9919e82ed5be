import CAV
import CTurboJPEG
import Glibc

/// Makes pictures of any size and layout into one size and layout: decodes, crops or letterboxes, scales,
/// converts colours, mirrors. One converter serves one thread.
///
/// YUV layouts are encoded as their formats say; JPEG is BT.601 in full range (JFIF). What is set up for a
/// source's format is kept until the format changes, so that steady frames allocate nothing.
public final class PictureConverter {
  public let target: PictureFormat
  public let fit: Fit
  public let isMirrored: Bool

  private let byteCount: Int
  private var decoder: JPEGDecoder?
  private var decoded = Scratch()
  private var staged = Scratch()
  private var way: Way?

  /// How frames of one source format are worked on.
  private struct Way {
    var key: Key
    /// The source as it is scaled: for a JPEG, its size after the DCT has scaled it.
    var picture: PictureFormat
    var placement: Placement
    /// nil where source and target agree and the bytes can be copied, or decoded in place.
    var scaler: Scaler?
    var decodesPlanes = false
  }
  private enum Key: Equatable {
    case raw(PictureFormat)
    case jpeg(JPEGDecoder.Info)
  }

  /// Throws `.unsupported` where `target` is JPEG or its sides are odd for its layout or out of bounds.
  public init(to target: PictureFormat, fit: Fit = .cover, mirror: Bool = false) throws {
    let attempt = "converting to \(target)"
    try target.check(attempt)
    guard let byteCount = target.pixels.byteCount(width: target.width, height: target.height) else {
      throw FrameError(.unsupported, attempt, "JPEG is made by JPEGEncoder")
    }
    self.target = target
    self.byteCount = byteCount
    self.fit = fit
    isMirrored = mirror
  }

  /// Converts one picture. A JPEG's own header counts, not the size in `format`.
  ///
  /// `into` needs the target's bytes. After an error it holds anything.
  public func convert(
    _ bytes: UnsafeRawBufferPointer, _ format: PictureFormat, into output: UnsafeMutableRawBufferPointer
  ) throws {
    guard output.count >= byteCount, let base = output.baseAddress else {
      throw FrameError(.tooSmall, "converting to \(target)", "\(output.count) bytes of \(byteCount)")
    }
    if format.pixels == .jpeg {
      try convertJPEG(bytes, into: base)
    } else {
      try convertRaw(bytes, format, into: base)
    }
    if isMirrored { target.mirror(base) }
  }

  private func convertRaw(
    _ bytes: UnsafeRawBufferPointer, _ format: PictureFormat, into output: UnsafeMutableRawPointer
  ) throws {
    let way = try way(for: .raw(format)) {
      try format.check("converting a picture")
      return try makeWay(.raw(format), format, format.side)
    }
    let count = format.pixels.byteCount(width: format.width, height: format.height)!
    guard bytes.count >= count, let base = bytes.baseAddress else {
      throw FrameError(.corrupt, "converting \(format)", "\(bytes.count) bytes of \(count)")
    }
    guard let scaler = way.scaler else {
      memcpy(output, base, count)
      return
    }
    let crop = way.placement.crop
    let source = format.planes(of: crop, at: UnsafeMutableRawPointer(mutating: base))
    let goal = try goal(way.placement.inner, in: output)
    // swscale's vector loops read past the end of a row: harmless but at the end of the picture. So the last
    // rows go through a copy that has room behind it.
    let tail = scaler.takesParts ? format.tailRows(of: crop) : crop.height
    let head = crop.height - tail
    if head > 0 { scaler.scale(source, rows: head, into: goal) }
    var rest = crop
    rest.height = tail
    let room = try decoded.reserve(format.alignedByteCount(rest))
    let last = format.copyTail(source, crop, from: head, into: room.baseAddress!)
    scaler.scale(last, from: head, rows: tail, into: goal)
    finish(way.placement.inner, goal, in: output)
  }

  private func convertJPEG(_ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer) throws {
    let decoder = try self.decoder ?? JPEGDecoder()
    self.decoder = decoder
    let jpeg = try decoder.withTables(bytes)
    let info = try decoder.info(jpeg)
    let way = try way(for: .jpeg(info)) { try makeWay(info) }
    let picture = way.picture
    guard let scaler = way.scaler else {
      try decoder.decode(
        jpeg, width: picture.width, height: picture.height,
        into: UnsafeMutableRawBufferPointer(start: output, count: byteCount))
      return
    }
    let crop = way.placement.crop
    var source: Planes
    if way.decodesPlanes {
      source = try decoder.decodePlanes(jpeg, info, width: picture.width, height: picture.height)
      source.advance(to: crop, subsampling: info.subsampling)
    } else {
      let room = try decoded.reserve(picture.width * picture.height * 3)
      try decoder.decode(jpeg, width: picture.width, height: picture.height, into: room)
      source = picture.planes(of: crop, at: room.baseAddress!)
    }
    let goal = try goal(way.placement.inner, in: output)
    scaler.scale(source, rows: crop.height, into: goal)
    finish(way.placement.inner, goal, in: output)
  }

  /// Where swscale writes: straight into `output`, or beside it where its vector loops would write too far or
  /// to addresses that they cannot.
  private func goal(_ inner: Area, in output: UnsafeMutableRawPointer) throws -> Planes {
    let direct = target.planes(of: inner, at: output)
    if direct.areAligned(width: inner.width) { return direct }
    let room = try staged.reserve(target.alignedByteCount(inner))
    return target.alignedPlanes(inner, at: room.baseAddress!)
  }

  /// Copies a staged result into `output`, then paints the letterbox bars: last, since swscale's vector
  /// stores may have spilled into them.
  private func finish(_ inner: Area, _ written: Planes, in output: UnsafeMutableRawPointer) {
    let direct = target.planes(of: inner, at: output)
    if written.pointers[0] != direct.pointers[0] {
      target.copyRows(of: inner, from: written, to: direct)
    }
    target.fillBars(around: inner, in: output)
  }

  private func way(for key: Key, make: () throws -> Way) throws -> Way {
    if let way, way.key == key { return way }
    let fresh = try make()
    way = fresh
    return fresh
  }

  private func makeWay(_ key: Key, _ picture: PictureFormat, _ side: Scaler.Side) throws -> Way {
    let placement = Placement(fit, from: picture, to: target)
    var way = Way(key: key, picture: picture, placement: placement)
    if picture == target { return way }
    way.scaler = try makeScaler(side, placement)
    return way
  }

  private func makeWay(_ info: JPEGDecoder.Info) throws -> Way {
    var picture = PictureFormat(.rgb24, width: info.width, height: info.height)
    // The smallest DCT scale that still has every pixel that is shown. Other scales than these have no
    // vector code in the library.
    for divisor in [8, 4, 2] {
      let scaled = PictureFormat(
        .rgb24, width: (info.width + divisor - 1) / divisor, height: (info.height + divisor - 1) / divisor)
      let placement = Placement(fit, from: scaled, to: target)
      if placement.crop.width >= placement.inner.width, placement.crop.height >= placement.inner.height {
        picture = scaled
        break
      }
    }
    // Scaling planes spares the decoder its colour conversion and swscale the way back.
    let planar = info.planarFormat
    guard picture != target, let planar else {
      return try makeWay(.jpeg(info), picture, picture.side)
    }
    var placement = Placement(fit, from: picture, to: target)
    placement.crop.align(to: Planes.step(info.subsampling))
    var way = Way(key: .jpeg(info), picture: picture, placement: placement)
    way.decodesPlanes = true
    way.scaler = try makeScaler(
      Scaler.Side(
        format: planar, encoding: ColorEncoding(.bt601, isFullRange: true), width: picture.width,
        height: picture.height), placement)
    return way
  }

  private func makeScaler(_ source: Scaler.Side, _ placement: Placement) throws -> Scaler {
    var source = source
    source.width = placement.crop.width
    source.height = placement.crop.height
    var goal = target.side
    goal.width = placement.inner.width
    goal.height = placement.inner.height
    return try Scaler(from: source, to: goal)
  }
}

extension PictureFormat {
  fileprivate var side: Scaler.Side {
    Scaler.Side(
      format: pixels.libav!,
      encoding: pixels.isYUV ? encoding : ColorEncoding(.bt601, isFullRange: true), width: width,
      height: height)
  }
}

extension Area {
  /// Moves the corner back to a whole chroma sample.
  fileprivate mutating func align(to step: (x: Int, y: Int)) {
    x = x / step.x * step.x
    y = y / step.y * step.y
  }
}

extension JPEGDecoder.Info {
  /// libav's name for the decoded planes, nil where they are not Y, Cb and Cr.
  fileprivate var planarFormat: AVPixelFormat? {
    guard
      colorspace == Int32(TJCS_YCbCr.rawValue) || colorspace == Int32(TJCS_GRAY.rawValue)
    else { return nil }
    switch subsampling {
    case Int32(TJSAMP_444.rawValue): return AV_PIX_FMT_YUV444P
    case Int32(TJSAMP_422.rawValue): return AV_PIX_FMT_YUV422P
    case Int32(TJSAMP_420.rawValue): return AV_PIX_FMT_YUV420P
    case Int32(TJSAMP_440.rawValue): return AV_PIX_FMT_YUV440P
    case Int32(TJSAMP_411.rawValue): return AV_PIX_FMT_YUV411P
    case Int32(TJSAMP_GRAY.rawValue): return AV_PIX_FMT_GRAY8
    default: return nil
    }
  }
}
