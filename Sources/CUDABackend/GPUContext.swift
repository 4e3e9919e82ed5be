import Base
import CCUDA
import Glibc
import Synchronization

/// A GPU's primary context.
///
/// Every entry from outside calls `enter` first: a context is current by thread, and programs are made on one thread
/// and run on another.
final class GPUContext: @unchecked Sendable {
  let driver: Driver
  let device: GPUDevice
  private let context: tc_CUcontext?
  private let setCurrent: tc_cuCtxSetCurrent
  private let heldByteCount = Atomic<Int>(0)
  /// Held by who loads weights or makes kernels: one at a time, whatever the thread.
  let loading = Lock()
  /// TURBOCAM_OVERLAP=0 keeps kernels one after the other: for comparisons, and where a picture looks wrong.
  private let refusedOverlap = Atomic<Bool>(getenv("TURBOCAM_OVERLAP").map { String(cString: $0) } == "0")

  private let programs = Atomic<Int>(0)

  /// Whether no program is ready to run that could take the GPU's time.
  var isQuiet: Bool { programs.load(ordering: .relaxed) == 0 }
  func programBegins() { programs.wrappingAdd(1, ordering: .relaxed) }
  func programEnds() { programs.wrappingSubtract(1, ordering: .relaxed) }

  /// Bytes that our buffers hold.
  var held: Int { heldByteCount.load(ordering: .relaxed) }

  init(_ driver: Driver, _ device: GPUDevice) throws {
    self.driver = driver
    self.device = device
    var context: tc_CUcontext?
    let code = try driver.get("cuDevicePrimaryCtxRetain", tc_cuDevicePrimaryCtxRetain.self)(
      &context, Int32(device.ordinal))
    // So drivers answer where a GPU is set to one program (nvidia-smi's "Exclusive Process") or to none. Of a
    // context that is there the same codes would say that it is lost.
    guard code != TC_CUDA_ERROR_DEVICE_UNAVAILABLE, code != TC_CUDA_ERROR_UNKNOWN else {
      throw CUDAError.device(
        "cuDevicePrimaryCtxRetain gives error \(code) for cuda:\(device.ordinal), \(device.name): another "
          + "program has it to itself, or it is set to be used by none",
        remedy: "let several use it (sudo nvidia-smi -c DEFAULT), choose another (--device cuda:N), "
          + "or compute with --device cpu")
    }
    try driver.check(code, "cuDevicePrimaryCtxRetain", device.name)
    self.context = context
    setCurrent = try driver.get("cuCtxSetCurrent", tc_cuCtxSetCurrent.self)
    try enter()
  }

  deinit {
    // What fails here fails because the context is gone already.
    try? enter()
    _ = driver.library.find("cuDevicePrimaryCtxRelease_v2", tc_cuDevicePrimaryCtxRelease_v2.self)?(
      Int32(device.ordinal))
  }

  /// Makes the context the calling thread's.
  func enter() throws { try driver.check(setCurrent(context), "cuCtxSetCurrent", device.name) }

  /// Whether captured graphs keep programmatic dependent launches (a kernel begins before the one before it has ended,
  /// and waits where it needs what that one wrote): drivers since CUDA 12.3 do, for cards since Hopper.
  var overlapsLaunches: Bool {
    device.capability >= 90 && driver.version >= 12030 && !refusedOverlap.load(ordering: .relaxed)
  }

  /// The driver did not take it.
  func refuseOverlap() { refusedOverlap.store(true, ordering: .relaxed) }

  // MARK: Memory

  /// The address of new memory.
  func allocate(_ byteCount: Int) throws -> tc_CUdeviceptr {
    var address: tc_CUdeviceptr = 0
    let code = try driver.get("cuMemAlloc_v2", tc_cuMemAlloc_v2.self)(&address, byteCount)
    if code == TC_CUDA_ERROR_OUT_OF_MEMORY {
      let (free, total) = try memoryInfo()
      throw CUDAError.memory(
        "\(Self.megabytes(byteCount + 499_999)) more are needed, \(Self.megabytes(held)) are held, "
          + "\(Self.megabytes(free)) of \(Self.megabytes(total)) are free")
    }
    try driver.check(code, "cuMemAlloc", "\(byteCount) bytes")
    heldByteCount.wrappingAdd(byteCount, ordering: .relaxed)
    return address
  }

  static func megabytes(_ bytes: Int) -> String { "\((bytes + 500_000) / 1_000_000) MB" }

  func release(_ address: tc_CUdeviceptr, _ byteCount: Int) {
    heldByteCount.wrappingSubtract(byteCount, ordering: .relaxed)
    _ = driver.library.find("cuMemFree_v2", tc_cuMemFree_v2.self)?(address)
  }

  /// The GPU's, in bytes.
  func memoryInfo() throws -> (free: Int, total: Int) {
    var (free, total) = (0, 0)
    try driver.check(
      driver.get("cuMemGetInfo_v2", tc_cuMemGetInfo_v2.self)(&free, &total), "cuMemGetInfo", device.name)
    return (free, total)
  }
}
