import Frames
import Glibc

/// Makes each frame one JPEG file in a buffer of its own pool, shared by all who show it.
///
/// A frame that is JPEG already is copied once, so that a slow viewer never holds one of the camera's buffers.
final class StreamEncoder {
  /// A camera's JPEG beyond this is nonsense.
  private static let largest = 64 << 20
  private static let usualQuality = 85
  private let encoder: JPEGEncoder
  private let holders: Int
  private var pool: FramePool?

  /// `holders`: who may hold a frame at the same time, beside the newest and the one being written.
  init(quality: Int?, holders: Int) throws {
    encoder = try JPEGEncoder(quality: quality ?? Self.usualQuality)
    self.holders = holders
  }

  /// nil where the frame cannot be shown, or where no buffer is free because everybody holds an old one.
  func encode(_ frame: borrowing Frame) -> Frame? {
    let format = frame.format
    let isJPEG = format.pixels == .jpeg
    let needed =
      isJPEG ? frame.bytes.count + JPEGTables.addedByteCount : JPEGEncoder.capacity(for: format)
    guard let draft = buffer(of: needed) else { return nil }
    draft.stamps = frame.stamps
    let count: Int
    if isJPEG {
      // Cameras may leave out the Huffman tables, which browsers do not know by heart.
      guard let copied = JPEGTables.complete(frame.bytes, into: draft.bytes) else { return nil }
      count = copied
    } else {
      guard let written = try? encoder.encode(frame.bytes, format, into: draft.bytes) else { return nil }
      count = written
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
    guard let draft = buffer(of: JPEGEncoder.capacity(for: format)),
      let written = try? encoder.encode(UnsafeRawBufferPointer(picture), format, into: draft.bytes)
    else { return nil }
    draft.stamps.pass(.encoded)
    return draft.finish(PictureFormat(.jpeg, width: 640, height: 480), byteCount: written, sequence: 0)
  }

  private func buffer(of count: Int) -> Draft? {
    guard count > 0, count <= Self.largest else { return nil }
    if pool == nil || pool!.capacity < count {
      // Room to spare for JPEGs that grow. Memory that no frame reaches is never touched.
      pool = FramePool(count: holders + 2, capacity: max(count + count / 2, 1 << 20))
    }
    return pool!.take()
  }
}
