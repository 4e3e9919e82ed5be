import CTurboJPEG
import Frames
import TestSupport
import Testing

@Suite struct PictureConverterTests {
  static let rawFormats: [PixelFormat] = [.rgb24, .yuyv, .nv12, .i420]

  @Test(arguments: rawFormats, rawFormats)
  func colorsSurviveEveryPairOfLayouts(_ first: PixelFormat, _ second: PixelFormat) throws {
    let picture = Picture.quarters(64, 48)
    let rgb = PictureFormat(.rgb24, width: 64, height: 48)
    let a = PictureFormat(first, width: 64, height: 48)
    let b = PictureFormat(second, width: 64, height: 48)
    let asFirst = try PictureConverter(to: a).convert(picture.bytes, rgb)
    let asSecond = try PictureConverter(to: b).convert(asFirst, a)
    let back = Picture(64, 48, bytes: try PictureConverter(to: rgb).convert(asSecond, b))
    for (x, y) in [(8, 8), (50, 8), (8, 40), (50, 40)] {
      #expect(back[x, y].distance(picture[x, y]) <= 5, "\(first) to \(second) at \(x),\(y): \(back[x, y])")
    }
  }

  /// The values of BT.601 in limited range (Recommendation ITU-R BT.601-7, section 2.5.1), computed by hand:
  /// Y = 16 + 65.481 R + 128.553 G + 24.966 B, and so on, for R, G, B from 0 to 1.
  @Test(arguments: [
    (RGB.white, 235, 128, 128), (.black, 16, 128, 128), (RGB(255, 0, 0), 81, 90, 240),
    (RGB(0, 255, 0), 145, 54, 34), (RGB(0, 0, 255), 41, 240, 110),
  ])
  func yuvIsLimitedRangeBT601(_ color: RGB, _ y: Int, _ u: Int, _ v: Int) throws {
    let picture = Picture(32, 32) { _, _ in color }
    let rgb = PictureFormat(.rgb24, width: 32, height: 32)
    let jpeg = picture.jpeg(quality: 100, subsampling: TJSAMP_444)
    for source in [(picture.bytes, rgb), (jpeg, PictureFormat(.jpeg, width: 32, height: 32))] {
      let yuyv = try PictureConverter(to: PictureFormat(.yuyv, width: 32, height: 32))
        .convert(source.0, source.1)
      #expect(abs(Int(yuyv[0]) - y) <= 2, "Y \(yuyv[0])")
      #expect(abs(Int(yuyv[1]) - u) <= 2, "U \(yuyv[1])")
      #expect(abs(Int(yuyv[3]) - v) <= 2, "V \(yuyv[3])")
      let planar = try PictureConverter(to: PictureFormat(.i420, width: 32, height: 32))
        .convert(source.0, source.1)
      #expect(abs(Int(planar[32 * 32]) - u) <= 2 && abs(Int(planar[32 * 32 + 256]) - v) <= 2)
      let nv12 = try PictureConverter(to: PictureFormat(.nv12, width: 32, height: 32))
        .convert(source.0, source.1)
      #expect(abs(Int(nv12[32 * 32]) - u) <= 2 && abs(Int(nv12[32 * 32 + 1]) - v) <= 2)
    }
  }

  /// Both ways, and on to the standard encoding, for a layout with columns of chroma and one with planes of it.
  @Test(arguments: EncodedColor.all, [PixelFormat.yuyv, .i420])
  func otherEncodingsKeepTheirColours(_ color: EncodedColor, _ layout: PixelFormat) throws {
    let (width, height) = (48, 32)
    let rgb = PictureFormat(.rgb24, width: width, height: height)
    let format = PictureFormat(layout, width: width, height: height, encoding: color.encoding)
    let encoded = try PictureConverter(to: format)
      .convert(Picture(width, height) { _, _ in color.rgb }.bytes, rgb)
    let second = layout == .yuyv ? 1 : width * height
    #expect(abs(Int(encoded[0]) - color.y) <= 2 && abs(Int(encoded[second]) - color.u) <= 2)
    #expect(abs(Int(encoded[layout == .yuyv ? 3 : width * height * 5 / 4]) - color.v) <= 2)
    let standard = PictureFormat(layout, width: width, height: height)
    let moved = try PictureConverter(to: standard).convert(encoded, format)
    for (bytes, format) in [(encoded, format), (moved, standard)] {
      let back = Picture(width, height, bytes: try PictureConverter(to: rgb).convert(bytes, format))
      for (x, y) in [(0, 0), (47, 0), (24, 16), (0, 31), (47, 31)] {
        #expect(back[x, y].distance(color.rgb) <= 6, "\(format) at \(x),\(y): \(back[x, y])")
      }
    }
  }

  /// A JPEG is full range, so black and white move even where its planes have the target's size and layout already.
  @Test(arguments: [TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_GRAY], [PixelFormat.yuyv, .nv12, .i420])
  func jpegsOfTheTargetsSizeBecomeLimitedRange(_ subsampling: TJSAMP, _ layout: PixelFormat) throws {
    for (color, level) in [(RGB.black, 16), (.white, 235)] {
      let jpeg = Picture(64, 48) { _, _ in color }.jpeg(quality: 100, subsampling: subsampling)
      let target = PictureFormat(layout, width: 64, height: 48)
      let bytes = try PictureConverter(to: target).convert(jpeg, PictureFormat(.jpeg, width: 64, height: 48))
      #expect(abs(Int(bytes[0]) - level) <= 1, "\(bytes[0])")
    }
  }

  @Test(arguments: [TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411])
  func everyJPEGSubsamplingScales(_ subsampling: TJSAMP) throws {
    let picture = Picture.quarters(161, 121)
    let jpeg = picture.jpeg(subsampling: subsampling)
    let converter = try PictureConverter(to: PictureFormat(.rgb24, width: 40, height: 30))
    let small = Picture(
      40, 30, bytes: try converter.convert(jpeg, PictureFormat(.jpeg, width: 161, height: 121)))
    #expect(small[5, 5].distance(.red) <= 8)
    #expect(small[34, 5].distance(.green) <= 8)
    #expect(small[5, 25].distance(.blue) <= 8)
    #expect(small[34, 25].distance(.yellow) <= 8)
  }

  @Test func grayJPEGBecomesGray() throws {
    let picture = Picture(64, 64) { x, _ in RGB(UInt8(x * 3), UInt8(x * 3), UInt8(x * 3)) }
    let jpeg = picture.jpeg(quality: 100, subsampling: TJSAMP_GRAY)
    let converter = try PictureConverter(to: PictureFormat(.rgb24, width: 32, height: 32))
    let small = Picture(
      32, 32, bytes: try converter.convert(jpeg, PictureFormat(.jpeg, width: 64, height: 64)))
    #expect(small[16, 16].distance(RGB(97, 97, 97)) <= 4)
  }

  @Test func sameFormatIsCopiedExactly() throws {
    let picture = Picture.gradient(33, 17)
    let format = PictureFormat(.rgb24, width: 33, height: 17)
    #expect(try PictureConverter(to: format).convert(picture.bytes, format) == picture.bytes)
  }

  @Test(arguments: rawFormats)
  func mirrorSwapsLeftAndRight(_ layout: PixelFormat) throws {
    let picture = Picture.quarters(64, 32)
    let rgb = PictureFormat(.rgb24, width: 64, height: 32)
    let format = PictureFormat(layout, width: 64, height: 32)
    let mirrored = try PictureConverter(to: format, mirror: true).convert(picture.bytes, rgb)
    let shown = Picture(64, 32, bytes: try PictureConverter(to: rgb).convert(mirrored, format))
    #expect(shown[4, 4].distance(.green) <= 6)
    #expect(shown[60, 4].distance(.red) <= 6)
    #expect(shown[4, 28].distance(.yellow) <= 6)
    #expect(shown[60, 28].distance(.blue) <= 6)
  }

  @Test func mirroredTwiceIsTheSame() throws {
    // Odd number of groups across, so that the middle one stays in place.
    let width = 38
    let format = PictureFormat(.yuyv, width: width, height: 6)
    var random = SplitMix(seed: 1)
    let bytes = (0..<width * 6 * 2).map { _ in UInt8.random(in: 0...255, using: &random) }
    let once = try PictureConverter(to: format, mirror: true).convert(bytes, format)
    #expect(once != bytes)
    #expect(once[0] == bytes[width * 2 - 2] && once[2] == bytes[width * 2 - 4])
    #expect(try PictureConverter(to: format, mirror: true).convert(once, format) == bytes)
  }

  @Test(arguments: rawFormats)
  func containLeavesBlackBars(_ layout: PixelFormat) throws {
    let picture = Picture(100, 50) { _, _ in .white }
    let format = PictureFormat(layout, width: 64, height: 64)
    var output = [UInt8](repeating: 77, count: layout.byteCount(width: 64, height: 64)!)
    let converter = try PictureConverter(to: format, fit: .contain)
    try picture.bytes.withUnsafeBytes { from in
      try output.withUnsafeMutableBytes {
        try converter.convert(from, PictureFormat(.rgb24, width: 100, height: 50), into: $0)
      }
    }
    let rgb = PictureFormat(.rgb24, width: 64, height: 64)
    let shown = Picture(64, 64, bytes: try PictureConverter(to: rgb).convert(output, format))
    for (x, y) in [(0, 0), (63, 13), (5, 50), (63, 63)] { #expect(shown[x, y].distance(.black) <= 3) }
    for (x, y) in [(0, 18), (63, 18), (32, 45), (0, 32)] { #expect(shown[x, y].distance(.white) <= 3) }
  }

  @Test(arguments: rawFormats)
  func containAtTheSidesToo(_ layout: PixelFormat) throws {
    let picture = Picture(50, 100) { _, _ in .white }
    let format = PictureFormat(layout, width: 64, height: 64)
    let converter = try PictureConverter(to: format, fit: .contain)
    let output = try converter.convert(picture.bytes, PictureFormat(.rgb24, width: 50, height: 100))
    let rgb = PictureFormat(.rgb24, width: 64, height: 64)
    let shown = Picture(64, 64, bytes: try PictureConverter(to: rgb).convert(output, format))
    for (x, y) in [(0, 0), (12, 63), (51, 30), (63, 63)] { #expect(shown[x, y].distance(.black) <= 3) }
    for (x, y) in [(20, 0), (44, 63), (32, 32)] { #expect(shown[x, y].distance(.white) <= 3) }
  }

  @Test func coverCutsTheSides() throws {
    // Three columns: only the middle one is left.
    let picture = Picture(192, 64) { x, _ in x < 64 ? .red : x < 128 ? .green : .blue }
    let jpeg = picture.jpeg(subsampling: TJSAMP_444)
    let converter = try PictureConverter(to: PictureFormat(.rgb24, width: 24, height: 24), fit: .cover)
    for source in [
      (picture.bytes, PictureFormat(.rgb24, width: 192, height: 64)),
      (jpeg, PictureFormat(.jpeg, width: 192, height: 64)),
    ] {
      let shown = Picture(24, 24, bytes: try converter.convert(source.0, source.1))
      for x in [1, 12, 22] { #expect(shown[x, 12].distance(.green) <= 12, "\(x): \(shown[x, 12])") }
    }
  }

  @Test func aChangedSourceIsFollowed() throws {
    let converter = try PictureConverter(to: PictureFormat(.rgb24, width: 32, height: 32))
    for side in [64, 48, 64, 33] {
      let picture = Picture.quarters(side, side)
      let shown = Picture(
        32, 32,
        bytes: try converter.convert(picture.bytes, PictureFormat(.rgb24, width: side, height: side)))
      #expect(shown[4, 4].distance(.red) <= 4 && shown[28, 28].distance(.yellow) <= 4)
      let again = Picture(
        32, 32,
        bytes: try converter.convert(picture.jpeg(), PictureFormat(.jpeg, width: 1, height: 1)))
      #expect(again[4, 4].distance(.red) <= 8 && again[28, 28].distance(.yellow) <= 8)
    }
  }

  @Test func badSizesAreRefused() throws {
    func refuses(_ kind: FrameError.Kind, _ body: () throws -> Void) {
      #expect { try body() } throws: { ($0 as? FrameError)?.kind == kind }
    }
    refuses(.unsupported) { _ = try PictureConverter(to: PictureFormat(.jpeg, width: 64, height: 64)) }
    refuses(.unsupported) { _ = try PictureConverter(to: PictureFormat(.yuyv, width: 63, height: 64)) }
    refuses(.unsupported) { _ = try PictureConverter(to: PictureFormat(.i420, width: 64, height: 63)) }
    refuses(.unsupported) { _ = try PictureConverter(to: PictureFormat(.rgb24, width: 0, height: 64)) }
    refuses(.unsupported) { _ = try PictureConverter(to: PictureFormat(.rgb24, width: 16385, height: 64)) }
    let converter = try PictureConverter(to: PictureFormat(.rgb24, width: 16, height: 16))
    refuses(.unsupported) {
      _ = try converter.convert([0, 0, 0], PictureFormat(.rgb24, width: -1, height: 1))
    }
    refuses(.corrupt) { _ = try converter.convert([0], PictureFormat(.rgb24, width: 16, height: 16)) }
    refuses(.tooSmall) {
      try [UInt8](repeating: 0, count: 768).withUnsafeBytes {
        try converter.convert(
          $0, PictureFormat(.rgb24, width: 16, height: 16),
          into: UnsafeMutableRawBufferPointer(start: nil, count: 0))
      }
    }
  }

  /// Neither side may be touched outside its bytes: a page that nobody may read or write lies on either side,
  /// and a stray access ends the test process.
  @Test(arguments: rawFormats, rawFormats)
  func nothingOutsideTheBuffersIsTouched(_ first: PixelFormat, _ second: PixelFormat) throws {
    var random = SplitMix(seed: 42)
    for round in 0..<60 {
      let small = round % 2 == 0
      func side() -> Int { Int.random(in: 1...(small ? 24 : 120), using: &random) * 2 }
      let from = PictureFormat(first, width: side(), height: side())
      let to = PictureFormat(second, width: side(), height: side())
      let converter = try PictureConverter(
        to: to, fit: round % 3 == 0 ? .contain : .cover, mirror: round % 5 == 0)
      let source = Guarded(first.byteCount(width: from.width, height: from.height)!, atEnd: round % 4 < 2)
      let target = Guarded(second.byteCount(width: to.width, height: to.height)!, atEnd: round % 4 < 2)
      try converter.convert(UnsafeRawBufferPointer(source.bytes), from, into: target.bytes)
    }
  }

  @Test(arguments: rawFormats)
  func jpegsTouchNothingOutsideEither(_ layout: PixelFormat) throws {
    var random = SplitMix(seed: 43)
    for round in 0..<40 {
      let width = Int.random(in: 1...200, using: &random)
      let height = Int.random(in: 1...200, using: &random)
      let kind = [TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_GRAY, TJSAMP_440, TJSAMP_411][round % 6]
      let jpeg = Picture.gradient(width, height).jpeg(subsampling: kind)
      let to = PictureFormat(
        layout, width: Int.random(in: 1...60, using: &random) * 2,
        height: Int.random(in: 1...60, using: &random) * 2)
      let converter = try PictureConverter(to: to, fit: round % 2 == 0 ? .contain : .cover)
      let source = Guarded(jpeg.count, atEnd: true)
      source.bytes.copyBytes(from: jpeg)
      let target = Guarded(layout.byteCount(width: to.width, height: to.height)!, atEnd: true)
      try converter.convert(
        UnsafeRawBufferPointer(source.bytes), PictureFormat(.jpeg, width: width, height: height),
        into: target.bytes)
    }
  }
}
