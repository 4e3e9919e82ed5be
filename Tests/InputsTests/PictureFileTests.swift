import Frames
import Glibc
import Inputs
import TestSupport
import Testing

@Suite struct PictureFileTests {
  /// Red, green, blue and yellow quarters as a PPM, the plainest of picture files.
  private static func quarters(_ width: Int, _ height: Int) -> [UInt8] {
    var bytes = Array("P6\n\(width) \(height)\n255\n".utf8)
    for y in 0..<height {
      for x in 0..<width { bytes += color(x < width / 2, y < height / 2).map { UInt8($0) } }
    }
    return bytes
  }
  private static func color(_ left: Bool, _ top: Bool) -> [Int] {
    top ? (left ? [220, 30, 30] : [30, 200, 40]) : (left ? [40, 50, 210] : [230, 220, 40])
  }
  private func make(
    _ folder: TemporaryFolder, _ name: String, _ width: Int, _ height: Int, _ options: [String] = []
  )
    throws
    -> String
  {
    let source = try folder.write("source.ppm", PictureFileTests.quarters(width, height))
    let path = folder.file(name)
    try ffmpeg(["-i", source] + options + [path])
    return path
  }

  @Test(arguments: ["a.png", "a.ppm", "a.bmp", "a.tiff"], [(64, 48), (61, 47)])
  func losslessFilesAreExact(_ name: String, _ size: (Int, Int)) throws {
    let folder = try TemporaryFolder()
    let picture = try PictureFile.read(make(folder, name, size.0, size.1))
    #expect(picture.width == size.0 && picture.height == size.1)
    #expect(picture.bytes == Array(PictureFileTests.quarters(size.0, size.1).suffix(size.0 * size.1 * 3)))
  }

  @Test(arguments: ["a.jpg", "a.webp", "100%d.jpg", "a:b.png", "no-ending"])
  func lossyFilesAndStrangeNamesAreNear(_ name: String) throws {
    let folder = try TemporaryFolder()
    let made = try make(
      folder, name.hasSuffix("webp") ? "x.webp" : name.hasSuffix("png") ? "x.png" : "x.jpg", 640, 480)
    let path = folder.file(name)
    rename(made, path)
    let picture = try PictureFile.read(path)
    #expect(picture.width == 640 && picture.height == 480)
    for (x, y) in [(20, 20), (620, 20), (20, 460), (620, 460)] {
      #expect(picture.isNear(x, y, PictureFileTests.color(x < 320, y < 240)), "\(picture.mean(x, y))")
    }
  }

  @Test func transparencyAnd16BitAreRead() throws {
    let folder = try TemporaryFolder()
    for format in ["rgba", "rgb48be", "pal8"] {
      let picture = try PictureFile.read(make(folder, "\(format).png", 64, 48, ["-pix_fmt", format]))
      #expect(
        picture.isNear(10, 10, PictureFileTests.color(true, true)), "\(format): \(picture.mean(10, 10))")
      #expect(picture.isNear(54, 40, PictureFileTests.color(false, false)))
    }
  }

  /// These do not say which levels they use: all.
  @Test func greyIsNotStretched() throws {
    let folder = try TemporaryFolder()
    let sixteen = Array("P5\n64 48\n65535\n".utf8) + [[UInt8]](repeating: [64, 0], count: 64 * 48).joined()
    let head = "P7\nWIDTH 64\nHEIGHT 48\nDEPTH 2\nMAXVAL 255\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\n"
    let transparent = Array(head.utf8) + [[UInt8]](repeating: [64, 255], count: 64 * 48).joined()
    for (name, bytes) in [("a.pgm", sixteen), ("a.pam", transparent)] {
      let picture = try PictureFile.read(folder.write(name, bytes))
      #expect(picture.isNear(32, 24, [64, 64, 64], within: 2), "\(name): \(picture.mean(32, 24))")
    }
  }

  /// EXIF's eight orientations (CIPA DC-008, 4.6.4 A): which stored corner is shown at the top left and right.
  @Test(arguments: [
    (1, [0, 1]), (2, [1, 0]), (3, [3, 2]), (4, [2, 3]), (5, [0, 2]), (6, [2, 0]), (7, [3, 1]), (8, [1, 3]),
  ])
  func exifOrientationIsFollowed(_ orientation: Int, _ top: [Int]) throws {
    let folder = try TemporaryFolder()
    let plain = try readFile(make(folder, "plain.jpg", 64, 32, ["-q:v", "1"]))
    // APP1, "Exif", a big-endian TIFF header and one entry: tag 0x0112, type SHORT, count 1.
    let exif: [UInt8] =
      [0xFF, 0xE1, 0, 34] + Array("Exif\0\0MM".utf8) + [0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1]
      + [0, UInt8(orientation), 0, 0, 0, 0, 0, 0]
    let path = try folder.write("turned.jpg", Array(plain[..<2]) + exif + Array(plain[2...]))
    let picture = try PictureFile.read(path)
    let isTransposed = orientation >= 5
    #expect(picture.width == (isTransposed ? 32 : 64) && picture.height == (isTransposed ? 64 : 32))
    let corners = [(true, true), (false, true), (true, false), (false, false)].map(PictureFileTests.color)
    #expect(picture.isNear(6, 6, corners[top[0]], within: 20), "\(picture.mean(6, 6))")
    #expect(picture.isNear(picture.width - 6, 6, corners[top[1]], within: 20))
  }

  @Test(arguments: ["a.png", "a.jpg", "a.webp"])
  func halfAPictureIsRefused(_ name: String) throws {
    let folder = try TemporaryFolder()
    let source = folder.file(name)
    try ffmpeg(["-f", "lavfi", "-i", "testsrc=size=320x240", "-frames:v", "1", source])
    let whole = try readFile(source)
    #expect(try PictureFile.read(source).width == 320)
    for share in [0.3, 0.6, 0.9] {
      let path = try folder.write("cut-" + name, Array(whole[..<Int(Double(whole.count) * share)]))
      #expect("\(share) of \(name)") {
        try PictureFile.read(path)
      } throws: {
        ($0 as? InputError)?.exitCode == EX_DATAERR && "\($0)".contains(path)
      }
    }
  }

  @Test func aStillComesOnceOrForEver() throws {
    let folder = try TemporaryFolder()
    let path = try make(folder, "a.png", 64, 48)
    let once = Running(try Source.make(path, options: SourceOptions(realTime: false)))
    #expect(once.all().count == 1)
    #expect(once.finish() == nil && once.status.current == .ended)
    let forEver = Running(try Source.make(path, options: SourceOptions(fps: 500)), .newest)
    let frames = forEver.all(atMost: 5)
    forEver.finish()
    #expect(frames.count == 5)
    #expect(Set(frames.map(\.sequence)).count == 5)
    #expect(frames.allSatisfy { $0.bytes == frames[0].bytes && $0.format.width == 64 })
  }
}
