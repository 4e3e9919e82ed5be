import CCUDA

/// Brings bytes of any kind of memory to the GPU, in turns through two pieces of memory that it can read by
/// itself: one is filled while the other is copied.
final class Uploader {
  private struct Half {
    let memory: PinnedBuffer
    /// The stream has copied it.
    let copied: GPUEvent
  }

  private let stream: GPUStream
  private let halves: [Half]
  private var turn = 0
  private static let byteCount = 8 << 20

  init(_ stream: GPUStream) throws {
    self.stream = stream
    halves = try (0..<2).map { _ in
      Half(memory: try PinnedBuffer(stream.context, Self.byteCount), copied: try GPUEvent(stream.context))
    }
  }

  /// Puts the copy into the stream; `bytes` may change as soon as this returns.
  func upload(_ bytes: UnsafeRawBufferPointer, to address: tc_CUdeviceptr) throws {
    var offset = 0
    while offset < bytes.count, let base = bytes.baseAddress {
      let half = halves[turn]
      turn = (turn + 1) % halves.count
      try half.copied.synchronize("loading weights")
      let count = min(half.memory.byteCount, bytes.count - offset)
      half.memory.pointer.copyMemory(from: base + offset, byteCount: count)
      try stream.upload(half.memory.pointer, to: address + UInt64(offset), count)
      try stream.mark(half.copied)
      offset += count
    }
  }

  /// Waits until all is copied: before that, this must stay.
  func finish() throws { for half in halves { try half.copied.synchronize("loading weights") } }
}
