import CAV
import Frames
import Glibc

/// Encodes single pictures as files. Memory is made for the first picture of a size and kept.
final class PictureEncoder {
  enum Kind: Equatable {
    case png
    case jpeg(quality: Int)
  }
  /// Stills are looked at longer than frames of a stream.
  static let quality = 92
  /// nil for PNG.
  private let jpeg: JPEGEncoder?
  private var scratch = Scratch()
  private var converter: PictureConverter?
  private var png: PNGEncoder?

  init(_ kind: Kind) throws {
    switch kind {
    case .png: jpeg = nil
    case .jpeg(let quality): jpeg = try JPEGEncoder(quality: quality)
    }
  }

  /// Gives the whole file to `body`.
  func encode(
    _ bytes: UnsafeRawBufferPointer, _ format: PictureFormat, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    guard let jpeg else { return try encodePNG(bytes, format, body) }
    if format.pixels == .jpeg {
      let room = try scratch.reserve(bytes.count + JPEGTables.addedByteCount)
      guard let count = JPEGTables.complete(bytes, into: room) else { return }
      try body(UnsafeRawBufferPointer(rebasing: room[..<count]))
    } else {
      let room = try scratch.reserve(JPEGEncoder.capacity(for: format))
      let count = try jpeg.encode(bytes, format, into: room)
      try body(UnsafeRawBufferPointer(rebasing: room[..<count]))
    }
  }

  private func encodePNG(
    _ bytes: UnsafeRawBufferPointer, _ format: PictureFormat, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let target = PictureFormat(.rgb24, width: format.width, height: format.height)
    if converter?.target != target { converter = try PictureConverter(to: target) }
    if png?.width != target.width || png?.height != target.height {
      png = try PNGEncoder(width: target.width, height: target.height)
    }
    let room = try scratch.reserve(target.width * target.height * 3)
    try converter!.convert(bytes, format, into: room)
    try png!.encode(UnsafeRawBufferPointer(room), body)
  }
}

/// libavcodec's PNG encoder for pictures of one size.
private final class PNGEncoder {
  let width: Int
  let height: Int
  private let codec: CodecContext

  init(width: Int, height: Int) throws {
    self.width = width
    self.height = height
    codec = try CodecContext(encoder: "png", attempt: "encoding PNG") {
      $0.pointee.width = Int32(width)
      $0.pointee.height = Int32(height)
      $0.pointee.pix_fmt = AV_PIX_FMT_RGB24
      $0.pointee.time_base = AVRational(num: 1, den: 1)
    }
  }

  func encode(_ rgb: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    let frame = try codec.makeFrame()
    let stride = Int(frame.pointee.linesize.0)
    for y in 0..<height {
      memcpy(frame.pointee.data.0! + y * stride, rgb.baseAddress! + y * width * 3, width * 3)
    }
    try codec.encode(frame) { packet in
      try body(UnsafeRawBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size)))
    }
  }
}
