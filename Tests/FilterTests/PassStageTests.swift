import Filter
import Frames
import TestSupport
import Testing

@Suite struct PassStageTests {
  @Test func aJPEGGoesThroughUntouched() throws {
    let bench = Bench(PassStage())
    // Not a JPEG: whoever decoded it would notice.
    let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0) }
    bench.put(bytes, PictureFormat(.jpeg, width: 1280, height: 720), sequence: 4)
    let frame = try #require(bench.picture())
    #expect(frame.format == PictureFormat(.jpeg, width: 1280, height: 720))
    #expect(frame.bytes == bytes)
    try bench.end()
  }

  /// Columns of an 8x2 picture, each of its own colour, so that any other order shows.
  @Test func aMirroredPictureRunsFromRightToLeft() throws {
    let bench = Bench(PassStage(mirror: true))
    let format = PictureFormat(.rgb24, width: 8, height: 2)
    func column(_ x: Int) -> [UInt8] { [UInt8(x * 30), UInt8(255 - x * 30), UInt8(x * x)] }
    bench.put((0..<16).flatMap { column($0 % 8) }, format, sequence: 4)
    let frame = try #require(bench.picture())
    #expect(frame.format == format)
    #expect(frame.sequence == 4)
    #expect(frame.bytes == (0..<16).flatMap { column(7 - $0 % 8) })
    try bench.end()
  }

  @Test(arguments: [(64, 48, PixelFormat.i420), (63, 47, .rgb24)])
  func aJPEGIsDecodedToBeMirrored(_ width: Int, _ height: Int, _ pixels: PixelFormat) throws {
    let bench = Bench(PassStage(mirror: true))
    // Black but for a white left third.
    let format = PictureFormat(.rgb24, width: width, height: height)
    let rgb = (0..<width * height).flatMap { [UInt8](repeating: $0 % width < width / 3 ? 255 : 0, count: 3) }
    var file = [UInt8](repeating: 0, count: JPEGEncoder.capacity(for: format))
    let count = try rgb.withUnsafeBytes { rgb in
      try file.withUnsafeMutableBytes { try JPEGEncoder(quality: 95).encode(rgb, format, into: $0) }
    }
    bench.put(Array(file[..<count]), PictureFormat(.jpeg, width: width, height: height), sequence: 4)
    let frame = try #require(bench.picture())
    #expect(frame.format == PictureFormat(pixels, width: width, height: height))
    let unit = pixels == .rgb24 ? 3 : 1
    let row = frame.bytes[(height / 2 * width * unit)...].prefix(width * unit)
    #expect(row.prefix(width / 2 * unit).allSatisfy { $0 < 40 })
    #expect(row.suffix(width / 4 * unit).allSatisfy { $0 > 215 })
    try bench.end()
  }

  @Test func whatCannotBeMirroredIsCounted() throws {
    let bench = Bench(PassStage(mirror: true))
    bench.put([0xFF, 0xD8, 1, 2, 3], PictureFormat(.jpeg, width: 64, height: 48), sequence: 1)
    #expect(eventually { bench.link.counters.corrupt.load(ordering: .relaxed) == 1 })
    bench.put(90, sequence: 2)
    #expect(bench.picture()?.sequence == 2)
    try bench.end()
  }
}
