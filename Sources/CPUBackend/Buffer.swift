import Glibc

/// Memory aligned to cache lines, freed with its last owner.
///
/// Large pieces are mappings of their own on huge pages: weights of gigabytes are read once a frame, and with
/// pages of 4 KB the processor would look up where each lies again and again.
final class Buffer {
  let pointer: UnsafeMutableRawPointer
  let byteCount: Int
  /// What was mapped for it; nil where it came from the heap.
  private let mapping: UnsafeMutableRawBufferPointer?

  private static let hugePage = 2 << 20

  /// `byteCount` zero bytes; at least one cache line.
  init(_ byteCount: Int) throws {
    guard byteCount >= 0, byteCount < Int.max / 2 else { throw CPUError.memory(byteCount: byteCount) }
    self.byteCount = Self.size(byteCount)
    if self.byteCount >= Self.hugePage {
      let mapping = try Self.map(self.byteCount)
      self.mapping = mapping
      pointer = mapping.baseAddress!.alignedUp(toMultipleOf: Self.hugePage)
      // Where the system has no huge pages small ones do, and for the rest of a piece: a huge one would waste
      // memory.
      madvise(pointer, self.byteCount / Self.hugePage * Self.hugePage, MADV_HUGEPAGE)
      return
    }
    mapping = nil
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, 64, self.byteCount) == 0, let memory else {
      throw CPUError.memory(byteCount: byteCount)
    }
    memset(memory, 0, self.byteCount)
    pointer = memory
  }

  /// Whole cache lines for so many bytes.
  static func size(_ byteCount: Int) -> Int { max(64, (byteCount + 63) / 64 * 64) }

  /// Zeros with room to align them.
  private static func map(_ byteCount: Int) throws -> UnsafeMutableRawBufferPointer {
    let size = byteCount + hugePage
    guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      memory != MAP_FAILED
    else { throw CPUError.memory(byteCount: byteCount) }
    return UnsafeMutableRawBufferPointer(start: memory, count: size)
  }

  deinit {
    if let mapping { munmap(mapping.baseAddress, mapping.count) } else { free(pointer) }
  }
}
