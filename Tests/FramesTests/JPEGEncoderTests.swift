import Frames
import Testing

@Suite struct JPEGEncoderTests {
  /// Encodes a picture of one colour, given as the format's own bytes, and gives the RGB in its middle.
  private func roundTrip(_ bytes: [UInt8], _ format: PictureFormat) throws -> [UInt8] {
    let encoder = try JPEGEncoder(quality: 95)
    var file = [UInt8](repeating: 0, count: JPEGEncoder.capacity(for: format))
    let count = try bytes.withUnsafeBytes { from in
      try file.withUnsafeMutableBytes { try encoder.encode(from, format, into: $0) }
    }
    #expect(file.withUnsafeBytes { JPEGCheck.isPlausible(UnsafeRawBufferPointer(rebasing: $0[..<count])) })
    var rgb = [UInt8](repeating: 0, count: format.width * format.height * 3)
    try file.withUnsafeBytes { jpeg in
      let jpeg = UnsafeRawBufferPointer(rebasing: jpeg[..<count])
      let decoder = try JPEGDecoder()
      let info = try decoder.info(jpeg)
      #expect(info.width == format.width && info.height == format.height)
      _ = try rgb.withUnsafeMutableBytes { try decoder.decode(jpeg, into: $0) }
    }
    let middle = (format.height / 2 * format.width + format.width / 2) * 3
    return Array(rgb[middle..<middle + 3])
  }

  /// A picture of one colour in every YUV layout.
  private func plain(_ color: (Int, Int, Int), _ encoding: ColorEncoding) -> [(PictureFormat, [UInt8])] {
    let (width, height) = (66, 34)
    let (y, u, v) = (UInt8(color.0), UInt8(color.1), UInt8(color.2))
    let luma = [UInt8](repeating: y, count: width * height)
    let quarter = width * height / 4
    let pictures: [(PixelFormat, [UInt8])] = [
      (.yuyv, (0..<width * height / 2).flatMap { _ -> [UInt8] in [y, u, y, v] }),
      (.nv12, luma + (0..<quarter).flatMap { _ -> [UInt8] in [u, v] }),
      (.i420, luma + [UInt8](repeating: u, count: quarter) + [UInt8](repeating: v, count: quarter)),
    ]
    return pictures.map { (PictureFormat($0, width: width, height: height, encoding: encoding), $1) }
  }

  private func isNear(_ found: [UInt8], _ wanted: [Int]) -> Bool {
    zip(found, wanted).allSatisfy { abs(Int($0) - $1) <= 4 }
  }

  // ITU-R BT.601, limited range: Y, U, V of black, white, red, blue, and of values outside the range.
  @Test(arguments: [
    ((16, 128, 128), [0, 0, 0]), ((235, 128, 128), [255, 255, 255]), ((81, 90, 240), [255, 0, 0]),
    ((41, 240, 110), [0, 0, 255]), ((0, 128, 128), [0, 0, 0]), ((255, 128, 128), [255, 255, 255]),
  ])
  func limitedRangeBecomesFull(_ color: (Int, Int, Int), _ wanted: [Int]) throws {
    for (format, bytes) in plain(color, .standard) {
      let found = try roundTrip(bytes, format)
      #expect(isNear(found, wanted), "\(format): \(found)")
    }
  }

  @Test(arguments: EncodedColor.all) func otherEncodingsKeepTheirColours(_ color: EncodedColor) throws {
    for (format, bytes) in plain((color.y, color.u, color.v), color.encoding) {
      let found = try roundTrip(bytes, format)
      #expect(isNear(found, [Int(color.rgb.r), Int(color.rgb.g), Int(color.rgb.b)]), "\(format): \(found)")
    }
  }

  @Test(arguments: [(1, 1), (17, 9), (640, 480)])
  func anySizeOfRGB(_ width: Int, _ height: Int) throws {
    let bytes = (0..<width * height).flatMap { _ -> [UInt8] in [200, 60, 30] }
    #expect(isNear(try roundTrip(bytes, PictureFormat(.rgb24, width: width, height: height)), [200, 60, 30]))
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let encoder = try JPEGEncoder(quality: 80)
    func encode(_ count: Int, _ format: PictureFormat, room: Int) throws -> Int {
      let bytes = [UInt8](repeating: 0, count: count)
      var file = [UInt8](repeating: 0, count: room)
      return try bytes.withUnsafeBytes { from in
        try file.withUnsafeMutableBytes { try encoder.encode(from, format, into: $0) }
      }
    }
    let format = PictureFormat(.rgb24, width: 32, height: 16)
    let room = JPEGEncoder.capacity(for: format)
    #expect(try encode(32 * 16 * 3, format, room: room) > 100)
    #expect(throws: FrameError.self) { try encode(32 * 16 * 3 - 1, format, room: room) }
    #expect(throws: FrameError.self) { try encode(32 * 16 * 3, format, room: room - 1) }
    #expect(throws: FrameError.self) {
      try encode(1000, PictureFormat(.jpeg, width: 32, height: 16), room: room)
    }
    #expect(throws: FrameError.self) {
      try encode(1000, PictureFormat(.yuyv, width: 31, height: 16), room: 9999)
    }
    #expect(throws: FrameError.self) {
      try encode(1000, PictureFormat(.i420, width: 32, height: 15), room: 9999)
    }
    for (width, height) in [(0, 16), (-8, 16), (65501, 1)] {
      #expect(throws: FrameError.self) {
        try encode(1000, PictureFormat(.rgb24, width: width, height: height), room: 9999)
      }
    }
    #expect(JPEGEncoder.capacity(for: PictureFormat(.rgb24, width: 0, height: -5)) == 0)
    for quality in [0, 101, -1] { #expect(throws: FrameError.self) { try JPEGEncoder(quality: quality) } }
  }
}
