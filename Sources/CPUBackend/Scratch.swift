/// Memory that steps need only while they run: one piece, as large as the hungriest step asks.
final class Scratch {
  private(set) var byteCount = 0
  private var pending: [(UnsafeMutableRawPointer) throws -> Void] = []
  private var buffer: Buffer?

  /// Asks for memory; `use` is told where it is when all have asked.
  func request(_ byteCount: Int, _ use: @escaping (UnsafeMutableRawPointer) throws -> Void) {
    self.byteCount = max(self.byteCount, byteCount)
    pending.append(use)
  }

  func commit() throws {
    guard !pending.isEmpty else { return }
    let buffer = try Buffer(byteCount)
    for use in pending { try use(buffer.pointer) }
    pending = []
    self.buffer = buffer
  }
}
