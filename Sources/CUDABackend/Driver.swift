import CCUDA
import Glibc
import Synchronization

/// The CUDA driver API, each function looked up when it is first needed: an old driver lacks only what is
/// newer.
///
/// Names are those of the library: cuda.h maps `cuMemAlloc` to `cuMemAlloc_v2`, and the plain name still
/// exists with another meaning.
final class Driver: Sendable {
  let library: DynamicLibrary
  /// 12040 for CUDA 12.4.
  let version: Int
  /// Whether a call told that the GPU, or what was on it, is gone.
  private let loss = Atomic<Bool>(false)
  var isLost: Bool { loss.load(ordering: .relaxed) }

  /// The oldest we run with, CUDA 11.8.
  static let oldest = 11080

  /// Opens the driver. Errors: `CUDAError` where there is none, none that works, or too old a one.
  init() throws {
    // Drivers before CUDA 12.2 otherwise load all kernels of a library at once, of which cuBLASLt has
    // hundreds of megabytes. What the user has set stays.
    setenv("CUDA_MODULE_LOADING", "LAZY", 0)
    library = try LibrarySearch.driver()
    let code = try library.get("cuInit", tc_cuInit.self)(0)
    guard code == 0 else {
      if code == TC_CUDA_ERROR_NO_DEVICE {
        throw CUDAError.device("\(library.path) finds no GPU", remedy: "compute with --device cpu")
      }
      throw Self.failure(library, "cuInit", code, "starting the driver")
    }
    var version: Int32 = 0
    _ = try library.get("cuDriverGetVersion", tc_cuDriverGetVersion.self)(&version)
    self.version = Int(version)
    guard self.version >= Self.oldest else {
      throw CUDAError.unsupported(
        "the driver is for CUDA \(Self.text(self.version)), \(Self.text(Self.oldest)) or later is needed",
        remedy: "install driver 520 or later, or compute with --device cpu")
    }
  }

  /// "12.4" of 12040.
  static func text(_ version: Int) -> String { "\(version / 1000).\(version % 1000 / 10)" }

  func get<F>(_ symbol: String, _ type: F.Type) throws -> F { try library.get(symbol, type) }

  /// Throws where a call did not succeed.
  func check(_ code: tc_CUresult, _ call: String, _ purpose: @autoclosure () -> String) throws {
    guard code != 0 else { return }
    if Self.isLoss(code) { loss.store(true, ordering: .relaxed) }
    throw Self.failure(library, call, code, purpose())
  }

  private static func failure(
    _ library: DynamicLibrary, _ call: String, _ code: tc_CUresult, _ purpose: String
  )
    -> CUDAError
  {
    let text = describe(library, code)
    if isLoss(code) { return .lost("\(call) gives error \(code) (\(text)) for \(purpose)") }
    if code == TC_CUDA_ERROR_OUT_OF_MEMORY { return .memory("\(call) finds none for \(purpose)") }
    return .call(call, code: Int(code), text: text, for: purpose)
  }

  /// Errors after which a context is of no use: faults of kernels, of the device and of the driver. Of most
  /// of them cuda.h says that every later call gives the same error.
  private static func isLoss(_ code: tc_CUresult) -> Bool {
    switch code {
    case TC_CUDA_ERROR_ECC_UNCORRECTABLE, TC_CUDA_ERROR_NVLINK_UNCORRECTABLE,
      TC_CUDA_ERROR_ILLEGAL_ADDRESS, TC_CUDA_ERROR_LAUNCH_TIMEOUT, TC_CUDA_ERROR_HARDWARE_STACK_ERROR,
      TC_CUDA_ERROR_ILLEGAL_INSTRUCTION, TC_CUDA_ERROR_MISALIGNED_ADDRESS,
      TC_CUDA_ERROR_INVALID_ADDRESS_SPACE, TC_CUDA_ERROR_INVALID_PC, TC_CUDA_ERROR_LAUNCH_FAILED,
      TC_CUDA_ERROR_CONTEXT_IS_DESTROYED, TC_CUDA_ERROR_DEVICE_UNAVAILABLE, TC_CUDA_ERROR_CONTAINED,
      TC_CUDA_ERROR_ASSERT, TC_CUDA_ERROR_TENSOR_MEMORY_LEAK, TC_CUDA_ERROR_MPS_CLIENT_TERMINATED,
      TC_CUDA_ERROR_EXTERNAL_DEVICE, TC_CUDA_ERROR_UNKNOWN:
      return true
    default: return false
    }
  }

  private static func describe(_ library: DynamicLibrary, _ code: tc_CUresult) -> String {
    var text: UnsafePointer<CChar>?
    if let name = library.find("cuGetErrorName", tc_cuGetErrorName.self), name(code, &text) == 0, let text {
      return String(cString: text)
    }
    return "unknown"
  }
}
