import CCUDA

/// Memory of the GPU, freed with its last owner.
final class DeviceBuffer {
  let address: tc_CUdeviceptr
  let byteCount: Int
  private let context: GPUContext

  /// Where kernels read 16 bytes at a time, a little more than asked for does no harm.
  init(_ context: GPUContext, _ byteCount: Int) throws {
    self.context = context
    self.byteCount = max(16, (byteCount + 15) / 16 * 16)
    address = try context.allocate(self.byteCount)
  }

  deinit {
    try? context.enter()
    context.release(address, byteCount)
  }
}

/// Memory of the host that the GPU copies from and to by itself.
final class PinnedBuffer {
  let pointer: UnsafeMutableRawPointer
  let byteCount: Int
  private let context: GPUContext

  init(_ context: GPUContext, _ byteCount: Int) throws {
    self.context = context
    self.byteCount = byteCount
    var memory: UnsafeMutableRawPointer?
    let code = try context.driver.get("cuMemHostAlloc", tc_cuMemHostAlloc.self)(
      &memory, max(byteCount, 1), 0)
    guard code != TC_CUDA_ERROR_OUT_OF_MEMORY else { throw CUDAError.hostMemory(byteCount: byteCount) }
    try context.driver.check(code, "cuMemHostAlloc", "\(byteCount) bytes")
    guard let memory else {
      throw CUDAError.call("cuMemHostAlloc", code: 0, text: "no memory", for: "\(byteCount) bytes")
    }
    pointer = memory
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  }

  deinit {
    try? context.enter()
    _ = context.driver.library.find("cuMemFreeHost", tc_cuMemFreeHost.self)?(pointer)
  }
}
