import Glibc

/// Memory that grows to the largest need and stays.
public struct Scratch: ~Copyable {
  /// swscale's vector loops may read this far past a row.
  static let slack = 64
  private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

  public init() {}
  deinit { free(memory.baseAddress) }

  /// At least `count` bytes on a cache line; contents are lost where it grows.
  public mutating func reserve(_ count: Int) throws -> UnsafeMutableRawBufferPointer {
    if memory.count < count {
      free(memory.baseAddress)
      memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
      var fresh: UnsafeMutableRawPointer?
      guard posix_memalign(&fresh, 64, count + Scratch.slack) == 0, let fresh else {
        throw FrameError(.library, "allocating scratch memory", "\(count) bytes refused")
      }
      memset(fresh, 0, count + Scratch.slack)
      memory = UnsafeMutableRawBufferPointer(start: fresh, count: count)
    }
    return UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
  }
}
