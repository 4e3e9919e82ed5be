import Frames
import Glibc

/// Makes each frame one JPEG file in a buffer of its own pool, shared by all who show it.
///
/// A frame that is JPEG already is copied once, so that a slow viewer never holds one of the camera's
/// buffers.
final class StreamEncoder {
  /// A camera's JPEG beyond this is nonsense.
  private static let largestJPEG = 64 << 20
  private static let usualQuality = 85
  private let encoder: JPEGEncoder
  private let holders: Int
  private var pool: FramePool?

  /// `holders`: who may hold a frame at the same time, beside the newest and the one being written.
  init(quality: Int?, holders: Int) throws {
    encoder = try JPEGEncoder(quality: quality ?? Self.usualQuality)
    self.holders = holders
  }

  /// nil where no buffer is free because everybody holds an old one. Throws `FrameError` where the frame
  /// cannot be shown.
  func encode(_ frame: borrowing Frame) throws -> Frame? {
    let format = frame.format
    guard let draft = try format.pixels == .jpeg ? room(forJPEG: frame.bytes.count) : room(for: format)
    else { return nil }
    draft.stamps = frame.stamps
    let count: Int
    if format.pixels == .jpeg {
      // Cameras may leave out the Huffman tables, which browsers do not know by heart. There is room for
      // them.
      count = JPEGTables.complete(frame.bytes, into: draft.bytes) ?? 0
    } else {
      count = try encoder.encode(frame.bytes, format, into: draft.bytes)
    }
    draft.stamps.pass(.encoded)
    return draft.finish(
      PictureFormat(.jpeg, width: format.width, height: format.height), byteCount: count,
      sequence: frame.sequence)
  }

  /// What is shown before the first frame has come.
  func waitingNotice() -> Frame? {
    let format = PictureFormat(.rgb24, width: 640, height: 480)
    guard let count = format.pixels.byteCount(width: format.width, height: format.height) else { return nil }
    let picture = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    defer { picture.deallocate() }
    Notice.draw("Waiting for the first picture", width: format.width, height: format.height, into: picture)
    let bound = JPEGEncoder.capacity(for: format)
    guard let draft = buffer(of: bound, making: bound),
      let written = try? encoder.encode(UnsafeRawBufferPointer(picture), format, into: draft.bytes)
    else { return nil }
    draft.stamps.pass(.encoded)
    return draft.finish(PictureFormat(.jpeg, width: 640, height: 480), byteCount: written, sequence: 0)
  }

  /// For a copy of a JPEG.
  private func room(forJPEG count: Int) throws -> Draft? {
    guard count > 0, count <= Self.largestJPEG else {
      throw FrameError(
        .corrupt, "copying a JPEG", "\(count) bytes, where 1 to \(Self.largestJPEG) can be a picture")
    }
    // Room to spare: the next ones may be larger.
    return buffer(of: count + JPEGTables.addedByteCount, making: count + count / 2)
  }

  /// For what may become of a raw picture.
  private func room(for format: PictureFormat) throws -> Draft? {
    let count = JPEGEncoder.capacity(for: format)
    guard count > 0, format.width * format.height <= PictureFormat.maximumPixels else {
      throw FrameError(
        .unsupported, "encoding \(format)", "more than \(PictureFormat.maximumPixels) pixels, or none")
    }
    return buffer(of: count, making: count)
  }

  /// `count` bytes, from a new pool with buffers of `size` where the old one's are too small. Memory that no
  /// frame reaches is never touched.
  private func buffer(of count: Int, making size: Int) -> Draft? {
    if pool == nil || pool!.capacity < count {
      pool = FramePool(count: holders + 2, capacity: max(count, size, 1 << 20))
    }
    return pool!.take()
  }
}
