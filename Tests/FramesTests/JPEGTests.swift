import CTurboJPEG
import Frames
import TestSupport
import Testing

@Suite struct JPEGTests {
  private func decode(_ jpeg: [UInt8]) throws -> Picture {
    let decoder = try JPEGDecoder()
    let info = try jpeg.withUnsafeBytes { try decoder.info($0) }
    var bytes = [UInt8](repeating: 0, count: info.width * info.height * 3)
    try jpeg.withUnsafeBytes { from in
      _ = try bytes.withUnsafeMutableBytes { try decoder.decode(from, into: $0) }
    }
    return Picture(info.width, info.height, bytes: bytes)
  }

  @Test(arguments: [(64, 48), (63, 47), (1, 1), (17, 200)])
  func decodesWhatWasEncoded(_ width: Int, _ height: Int) throws {
    let picture = Picture.gradient(width, height)
    let decoded = try decode(picture.jpeg(quality: 98, subsampling: TJSAMP_444))
    #expect(decoded.width == width && decoded.height == height)
    #expect(decoded.meanDistance(picture) < 2)
  }

  @Test func missingHuffmanTablesAreTheStandardOnes() throws {
    let picture = Picture.gradient(160, 120)
    let whole = picture.jpeg(subsampling: TJSAMP_422)
    let bare = withoutHuffmanTables(whole)
    #expect(bare.count == whole.count - JPEGTables.addedByteCount)
    #expect(whole.withUnsafeBytes { JPEGTables.insertionPoint(in: $0) } == nil)
    #expect(try decode(bare).bytes == decode(whole).bytes)
    var room = [UInt8](repeating: 0, count: whole.count)
    let count = bare.withUnsafeBytes { bare in
      room.withUnsafeMutableBytes { JPEGTables.complete(bare, into: $0) }
    }
    #expect(count == whole.count)
    #expect(room.withUnsafeBytes { JPEGTables.insertionPoint(in: $0) } == nil)
    #expect(try decode(room).bytes == decode(whole).bytes)
    #expect(
      bare.withUnsafeBytes { bare in
        room.withUnsafeMutableBytes {
          JPEGTables.complete(bare, into: UnsafeMutableRawBufferPointer(rebasing: $0.dropLast()))
        }
      } == nil)
  }

  /// A decoder keeps the tables of the picture before; a frame without tables must not get those.
  @Test func tablesDoNotLeakFromTheFrameBefore() throws {
    let picture = Picture.gradient(160, 120)
    // Progressive coding makes its own tables.
    let other = Picture.quarters(160, 120).jpeg(flags: TJFLAG_PROGRESSIVE)
    let bare = withoutHuffmanTables(picture.jpeg())
    let decoder = try JPEGDecoder()
    var bytes = [UInt8](repeating: 0, count: 160 * 120 * 3)
    for jpeg in [other, bare] {
      try jpeg.withUnsafeBytes { from in
        _ = try bytes.withUnsafeMutableBytes { try decoder.decode(from, into: $0) }
      }
    }
    #expect(bytes == (try decode(picture.jpeg())).bytes)
  }

  @Test func truncatedPicturesAreRefused() throws {
    let jpeg = Picture.gradient(160, 120).jpeg()
    for keep in [0, 1, 2, 3, 20, 200, jpeg.count / 2, jpeg.count * 3 / 4, jpeg.count - 20] {
      #expect(throws: FrameError.self, "\(keep) of \(jpeg.count) bytes") { try decode(Array(jpeg[..<keep])) }
      // The end marker in place does not make it whole.
      #expect(throws: FrameError.self) { try decode(Array(jpeg[..<keep]) + [0xFF, 0xD9]) }
    }
  }

  @Test func zeroedTailsAreRefused() throws {
    var jpeg = Picture.gradient(160, 120).jpeg()
    for at in jpeg.count / 2..<jpeg.count { jpeg[at] = 0 }
    #expect(throws: FrameError.self) { try decode(jpeg) }
  }

  @Test func strayBytesBeforeTheEndAreForgiven() throws {
    let picture = Picture.gradient(160, 120)
    var jpeg = picture.jpeg()
    jpeg.insert(contentsOf: [0x12, 0x34], at: jpeg.count - 2)
    #expect(try decode(jpeg).bytes == decode(picture.jpeg()).bytes)
  }

  @Test func hugeSizesAreRefusedByTheHeader() throws {
    var jpeg = Picture.gradient(160, 120).jpeg()
    let frame = try #require(jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0x40, 0x01, 0x40, 0x01])
    #expect { try decode(jpeg) } throws: { ($0 as? FrameError)?.kind == .unsupported }
  }

  @Test func garbageIsRefused() throws {
    var random = SplitMix(seed: 3)
    let converter = try PictureConverter(to: PictureFormat(.rgb24, width: 64, height: 64))
    for count in [0, 1, 2, 127, 128, 5000] {
      let garbage = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      #expect(throws: FrameError.self) { try decode(garbage) }
      #expect(throws: FrameError.self) { try decode([0xFF, 0xD8] + garbage) }
      #expect(throws: FrameError.self) {
        try converter.convert(garbage, PictureFormat(.jpeg, width: 64, height: 64))
      }
    }
  }

  /// Whatever happens to the bytes, one of two things follows: a picture, or an error.
  @Test(arguments: [TJSAMP_420, TJSAMP_422, TJSAMP_GRAY])
  func mutationsNeverCrash(_ subsampling: TJSAMP) throws {
    var random = SplitMix(seed: Int(subsampling.rawValue))
    let converter = try PictureConverter(to: PictureFormat(.yuyv, width: 64, height: 48))
    let original = Picture.gradient(160, 120)
    var refused = 0
    for round in 0..<600 {
      var jpeg = original.jpeg(
        quality: 80, subsampling: subsampling, flags: round % 3 == 0 ? TJFLAG_PROGRESSIVE : 0)
      if round % 5 == 0 { jpeg = withoutHuffmanTables(jpeg) }
      // Most of the first bytes are tables and headers, where damage does most.
      let reach = round % 2 == 0 ? min(700, jpeg.count) : jpeg.count
      for _ in 0...Int.random(in: 0...8, using: &random) {
        jpeg[Int.random(in: 0..<reach, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if round % 7 == 0 { jpeg.removeLast(Int.random(in: 0..<jpeg.count, using: &random)) }
      do {
        _ = try converter.convert(jpeg, PictureFormat(.jpeg, width: 160, height: 120))
      } catch let error as FrameError {
        refused += 1
        #expect(error.kind == .corrupt || error.kind == .unsupported, "\(error)")
      }
    }
    // And the converter still works.
    let good = try converter.convert(original.jpeg(), PictureFormat(.jpeg, width: 160, height: 120))
    let fresh = try PictureConverter(to: converter.target)
      .convert(original.jpeg(), PictureFormat(.jpeg, width: 160, height: 120))
    #expect(good == fresh)
    #expect(refused > 50)
  }

  @Test func aPlausibleJPEGHasBothItsEnds() {
    func check(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { JPEGCheck.isPlausible($0) } }
    let jpeg = Picture.gradient(64, 64).jpeg()
    #expect(check(jpeg))
    #expect(!check(Array(jpeg.dropLast())))
    #expect(!check(jpeg + [0x01]))
    #expect(!check(Array(jpeg.dropFirst())))
    #expect(!check([0xFF, 0xD8, 0xFF, 0xD9]))
    #expect(!check([]))
  }
}
