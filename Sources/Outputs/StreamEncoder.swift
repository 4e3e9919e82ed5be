import Frames
import Glibc

/// Makes each frame one JPEG file in a buffer of its own pool, shared by all who show it.
///
/// A frame that is JPEG already is copied once, so that a slow viewer never holds one of the camera's buffers.
final class StreamEncoder {
  /// A camera's JPEG beyond this is nonsense.
  private static let largest = 64 << 20
  private let encoder: JPEGEncoder
  private let holders: Int
  private var pool: FramePool?

  /// `holders`: who may hold a frame at the same time, beside the newest and the one being written.
  init(quality: Int, holders: Int) throws {
    encoder = try JPEGEncoder(quality: quality)
    self.holders = holders
  }

  /// nil where the frame cannot be shown, or where no buffer is free because everybody holds an old one.
  func encode(_ frame: borrowing Frame) -> Frame? {
    let format = frame.format
    let isJPEG = format.pixels == .jpeg
    let needed = isJPEG ? frame.bytes.count : JPEGEncoder.capacity(for: format)
    guard let draft = buffer(of: needed) else { return nil }
    draft.stamps = frame.stamps
    let count: Int
    if isJPEG {
      memcpy(draft.bytes.baseAddress!, frame.bytes.baseAddress!, needed)
      count = needed
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
  func waitingNotice() -> Frame? { nil }

  private func buffer(of count: Int) -> Draft? {
    guard count > 0, count <= Self.largest else { return nil }
    if pool == nil || pool!.capacity < count {
      // Room to spare for JPEGs that grow. Memory that no frame reaches is never touched.
      pool = FramePool(count: holders + 2, capacity: max(count + count / 2, 1 << 20))
    }
    return pool!.take()
  }
}
