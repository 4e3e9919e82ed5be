import CTurboJPEG
import Frames
import Glibc

struct RGB: Equatable {
  var r: UInt8
  var g: UInt8
  var b: UInt8
  init(_ r: UInt8, _ g: UInt8, _ b: UInt8) { (self.r, self.g, self.b) = (r, g, b) }

  func distance(_ other: RGB) -> Int {
    max(abs(Int(r) - Int(other.r)), abs(Int(g) - Int(other.g)), abs(Int(b) - Int(other.b)))
  }
  static let red = RGB(220, 30, 30)
  static let green = RGB(30, 200, 40)
  static let blue = RGB(40, 50, 210)
  static let yellow = RGB(230, 220, 40)
  static let black = RGB(0, 0, 0)
  static let white = RGB(255, 255, 255)
}

/// An rgb24 picture in an array.
struct Picture {
  var width: Int
  var height: Int
  var bytes: [UInt8]

  init(_ width: Int, _ height: Int, _ color: (Int, Int) -> RGB) {
    self.width = width
    self.height = height
    bytes = []
    for y in 0..<height {
      for x in 0..<width {
        let pixel = color(x, y)
        bytes += [pixel.r, pixel.g, pixel.b]
      }
    }
  }
  init(_ width: Int, _ height: Int, bytes: [UInt8]) {
    self.width = width
    self.height = height
    self.bytes = bytes
  }

  subscript(_ x: Int, _ y: Int) -> RGB {
    let at = (y * width + x) * 3
    return RGB(bytes[at], bytes[at + 1], bytes[at + 2])
  }

  /// Red, green, blue and yellow quarters: tells every flip and rotation apart.
  static func quarters(_ width: Int, _ height: Int) -> Picture {
    Picture(width, height) { x, y in
      switch (x < width / 2, y < height / 2) {
      case (true, true): return .red
      case (false, true): return .green
      case (true, false): return .blue
      case (false, false): return .yellow
      }
    }
  }

  static func gradient(_ width: Int, _ height: Int) -> Picture {
    Picture(width, height) { x, y in
      RGB(
        UInt8(20 + 200 * x / width), UInt8(20 + 200 * y / height),
        UInt8(20 + 100 * x / width + 100 * y / height))
    }
  }

  /// The largest difference of any byte.
  func distance(_ other: Picture) -> Int {
    zip(bytes, other.bytes).reduce(0) { max($0, abs(Int($1.0) - Int($1.1))) }
  }
  func meanDistance(_ other: Picture) -> Double {
    Double(zip(bytes, other.bytes).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }) / Double(bytes.count)
  }

  /// A JPEG of this picture, made by libturbojpeg itself.
  func jpeg(
    quality: Int32 = 95, subsampling: TJSAMP = TJSAMP_420, flags: Int32 = 0
  ) -> [UInt8] {
    let handle = tjInitCompress()
    defer { tjDestroy(handle) }
    var memory: UnsafeMutablePointer<UInt8>?
    var count: UInt = 0
    let failure = tjCompress2(
      handle, bytes, Int32(width), 0, Int32(height), Int32(TJPF_RGB.rawValue), &memory, &count,
      Int32(subsampling.rawValue), quality, flags)
    precondition(failure == 0)
    defer { tjFree(memory) }
    return Array(UnsafeBufferPointer(start: memory, count: Int(count)))
  }
}

extension PictureConverter {
  func convert(_ bytes: [UInt8], _ format: PictureFormat) throws -> [UInt8] {
    var output = [UInt8](
      repeating: 0, count: target.pixels.byteCount(width: target.width, height: target.height)!)
    try bytes.withUnsafeBytes { from in
      try output.withUnsafeMutableBytes { try convert(from, format, into: $0) }
    }
    return output
  }
}

/// `jpeg` without its Huffman tables, as a UVC camera sends it.
func withoutHuffmanTables(_ jpeg: [UInt8]) -> [UInt8] {
  var out = Array(jpeg[..<2])
  var at = 2
  while at + 4 <= jpeg.count {
    let length = 2 + Int(jpeg[at + 2]) << 8 + Int(jpeg[at + 3])
    if jpeg[at + 1] == 0xDA { break }
    if jpeg[at + 1] != 0xC4 { out += jpeg[at..<at + length] }
    at += length
  }
  return out + jpeg[at...]
}

/// Memory that ends right before (and starts right after) a page that nobody may touch.
final class Guarded {
  let bytes: UnsafeMutableRawBufferPointer
  private let start: UnsafeMutableRawPointer
  private let total: Int

  /// With `atEnd` the last byte lies before a forbidden page, else the first lies after one.
  init(_ count: Int, atEnd: Bool) {
    let page = sysconf(Int32(_SC_PAGESIZE))
    let room = (count + page - 1) / page * page
    total = room + 2 * page
    start = mmap(nil, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    precondition(start != MAP_FAILED)
    mprotect(start, page, PROT_NONE)
    mprotect(start + page + room, page, PROT_NONE)
    bytes = UnsafeMutableRawBufferPointer(start: start + page + (atEnd ? room - count : 0), count: count)
  }
  deinit { munmap(start, total) }
}

struct Absent: Error {}

/// `#require` for what cannot be copied.
func need<Value: ~Copyable>(_ value: consuming Value?) throws -> Value {
  guard let value else { throw Absent() }
  return value
}
