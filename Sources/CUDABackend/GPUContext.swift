import CCUDA

/// A GPU's primary context with one stream, in which everything runs in order.
///
/// Every entry from outside calls `enter` first: a context is current by thread, and programs are made on one thread
/// and run on another.
final class GPUContext: @unchecked Sendable {
  let driver: Driver
  let device: GPUDevice
  private let context: tc_CUcontext?
  private(set) var stream: tc_CUstream?
  /// Bytes that our buffers hold.
  private(set) var held = 0

  init(_ driver: Driver, _ device: GPUDevice) throws {
    self.driver = driver
    self.device = device
    var context: tc_CUcontext?
    try driver.check(
      driver.get("cuDevicePrimaryCtxRetain", tc_cuDevicePrimaryCtxRetain.self)(
        &context, Int32(device.ordinal)),
      "cuDevicePrimaryCtxRetain", device.name)
    self.context = context
    try enter()
    try driver.check(
      driver.get("cuStreamCreate", tc_cuStreamCreate.self)(&stream, UInt32(TC_CUDA_STREAM_NON_BLOCKING)),
      "cuStreamCreate", device.name)
  }

  deinit {
    // What fails here fails because the context is gone already.
    try? enter()
    _ = driver.library.find("cuStreamDestroy_v2", tc_cuStreamDestroy_v2.self)?(stream)
    _ = driver.library.find("cuDevicePrimaryCtxRelease_v2", tc_cuDevicePrimaryCtxRelease_v2.self)?(
      Int32(device.ordinal))
  }

  /// Makes the context the calling thread's.
  func enter() throws {
    try driver.check(
      driver.get("cuCtxSetCurrent", tc_cuCtxSetCurrent.self)(context), "cuCtxSetCurrent", device.name)
  }

  /// Waits until everything that was asked for is done.
  func synchronize(_ purpose: @autoclosure () -> String) throws {
    try driver.check(
      driver.get("cuStreamSynchronize", tc_cuStreamSynchronize.self)(stream), "cuStreamSynchronize", purpose()
    )
  }

  // MARK: Memory

  /// The address of new memory.
  func allocate(_ byteCount: Int) throws -> tc_CUdeviceptr {
    var address: tc_CUdeviceptr = 0
    let code = try driver.get("cuMemAlloc_v2", tc_cuMemAlloc_v2.self)(&address, byteCount)
    if code == TC_CUDA_ERROR_OUT_OF_MEMORY {
      let memory = try free()
      throw CUDAError.memory(asked: byteCount, held: held, free: memory.free, total: memory.total)
    }
    try driver.check(code, "cuMemAlloc", "\(byteCount) bytes")
    held += byteCount
    return address
  }

  func release(_ address: tc_CUdeviceptr, _ byteCount: Int) {
    held -= byteCount
    _ = driver.library.find("cuMemFree_v2", tc_cuMemFree_v2.self)?(address)
  }

  func free() throws -> (free: Int, total: Int) {
    var (free, total) = (0, 0)
    try driver.check(
      driver.get("cuMemGetInfo_v2", tc_cuMemGetInfo_v2.self)(&free, &total), "cuMemGetInfo", device.name)
    return (free, total)
  }

  // MARK: Copies, in the stream's order

  /// `from` must stay as it is until the stream has come by.
  func upload(_ from: UnsafeRawPointer, to: tc_CUdeviceptr, _ byteCount: Int) throws {
    try driver.check(
      driver.get("cuMemcpyHtoDAsync_v2", tc_cuMemcpyHtoDAsync_v2.self)(to, from, byteCount, stream),
      "cuMemcpyHtoDAsync", "\(byteCount) bytes")
  }

  func download(_ from: tc_CUdeviceptr, to: UnsafeMutableRawPointer, _ byteCount: Int) throws {
    try driver.check(
      driver.get("cuMemcpyDtoHAsync_v2", tc_cuMemcpyDtoHAsync_v2.self)(to, from, byteCount, stream),
      "cuMemcpyDtoHAsync", "\(byteCount) bytes")
  }

  func copy(_ from: tc_CUdeviceptr, to: tc_CUdeviceptr, _ byteCount: Int) throws {
    try driver.check(
      driver.get("cuMemcpyDtoDAsync_v2", tc_cuMemcpyDtoDAsync_v2.self)(to, from, byteCount, stream),
      "cuMemcpyDtoDAsync", "\(byteCount) bytes")
  }
}
