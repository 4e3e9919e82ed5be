import Glibc

/// Memory aligned to cache lines, freed with its last owner.
final class Buffer {
  let pointer: UnsafeMutableRawPointer
  let byteCount: Int

  /// `byteCount` zero bytes; at least one cache line.
  init(_ byteCount: Int) throws {
    let size = max(64, (byteCount + 63) / 64 * 64)
    var memory: UnsafeMutableRawPointer?
    guard byteCount >= 0, posix_memalign(&memory, size >= 1 << 21 ? 4096 : 64, size) == 0, let memory else {
      throw CPUError.memory(byteCount: byteCount)
    }
    pointer = memory
    self.byteCount = size
    memset(memory, 0, size)
  }

  deinit { free(pointer) }
}
