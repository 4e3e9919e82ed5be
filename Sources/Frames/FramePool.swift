import Base
import Synchronization

/// A fixed number of frame buffers, allocated once. Every lease gives its buffer back when it ends.
public final class FramePool: Sendable {
  /// Bytes of each buffer.
  public let capacity: Int
  private let free: Lock<[FrameBuffer]>

  /// `count` buffers of `capacity` bytes each.
  public init(count: Int, capacity: Int) {
    self.capacity = capacity
    var buffers: [FrameBuffer] = []
    buffers.reserveCapacity(count)
    for _ in 0..<count { buffers.append(FrameBuffer(capacity: capacity)) }
    free = Lock(buffers)
  }

  /// A buffer to write into, or nil while all are out (the caller drops its frame and counts it).
  public func take() -> Draft? {
    guard let buffer = free.withLock({ $0.popLast() }) else { return nil }
    buffer.pool = self
    buffer.stamps = Stamps()
    buffer.byteCount = 0
    return Draft(buffer)
  }

  /// Buffers that are not out.
  public var available: Int { free.withLock { $0.count } }

  fileprivate func giveBack(_ buffer: FrameBuffer) { free.withLock { $0.append(buffer) } }
}

/// Memory of one frame. Written by its one `Draft`, then read-only while `Frame`s share it; the hand-over
/// in a mailbox's lock orders the two.
final class FrameBuffer: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer
  var byteCount = 0
  var format = PictureFormat(.rgb24, width: 0, height: 0)
  var stamps = Stamps()
  var sequence: UInt64 = 0
  /// Set while the buffer is out, so that a pool outlives its frames and buffers at home hold no cycle.
  fileprivate var pool: FramePool?
  private let holders = Atomic<Int>(0)

  init(capacity: Int) {
    // 64: a cache line, and what AVX-512 loads want.
    bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 64)
  }
  deinit { bytes.deallocate() }

  func retain() { holders.wrappingAdd(1, ordering: .relaxed) }
  func release() {
    guard holders.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
    let home = pool
    pool = nil
    home?.giveBack(self)
  }
}

/// A buffer that nobody else sees yet. Fill it, then `finish` makes it a `Frame`.
public struct Draft: ~Copyable, Sendable {
  let buffer: FrameBuffer

  init(_ buffer: FrameBuffer) {
    self.buffer = buffer
    buffer.retain()
  }
  deinit { buffer.release() }

  /// The whole buffer, `FramePool.capacity` bytes.
  public var bytes: UnsafeMutableRawBufferPointer { buffer.bytes }
  public var stamps: Stamps {
    get { buffer.stamps }
    nonmutating set { buffer.stamps = newValue }
  }

  /// Ends writing. `byteCount` of the buffer hold a picture of `format`.
  public consuming func finish(_ format: PictureFormat, byteCount: Int, sequence: UInt64) -> Frame {
    precondition(byteCount <= buffer.bytes.count)
    buffer.format = format
    buffer.byteCount = byteCount
    buffer.sequence = sequence
    return Frame(buffer)
  }
}

/// A share in a finished, read-only frame; the last share gives the buffer back to its pool.
public struct Frame: ~Copyable, Sendable {
  let buffer: FrameBuffer
  /// Stamps travel with the share, so that each output has its own after `published`.
  public var stamps: Stamps

  init(_ buffer: FrameBuffer) {
    self.buffer = buffer
    stamps = buffer.stamps
    buffer.retain()
  }
  deinit { buffer.release() }

  public var format: PictureFormat { buffer.format }
  public var sequence: UInt64 { buffer.sequence }
  public var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: buffer.bytes[..<buffer.byteCount])
  }
  /// Drawn to say why there is no picture: captured by nobody.
  public var isNotice: Bool { stamps[.captured] == 0 }

  /// Another share in the same frame.
  public func share() -> Frame {
    var copy = Frame(buffer)
    copy.stamps = stamps
    return copy
  }
}
