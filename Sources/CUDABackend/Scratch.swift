import CCUDA

/// Memory of the GPU that steps need only while they run: one piece, as large as the hungriest asks.
final class Scratch {
  private(set) var byteCount = 0
  private var pending: [(tc_CUdeviceptr) -> Void] = []
  private var buffer: DeviceBuffer?

  /// Asks for memory; `use` is told where it is when all have asked.
  func request(_ byteCount: Int, _ use: @escaping (tc_CUdeviceptr) -> Void) {
    self.byteCount = max(self.byteCount, byteCount)
    pending.append(use)
  }

  func commit(_ stream: GPUStream) throws {
    guard !pending.isEmpty else { return }
    if (buffer?.byteCount ?? 0) < byteCount {
      // What was put into the stream may still use the smaller one.
      try stream.synchronize("scratch memory")
      buffer = try DeviceBuffer(stream.context, byteCount)
    }
    if let buffer { for use in pending { use(buffer.address) } }
    pending = []
  }
}
