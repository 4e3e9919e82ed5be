import CDNNL
import Engine

/// What can go wrong on the CPU.
public enum CPUError: Error, CustomStringConvertible, Equatable {
  /// A oneDNN call failed: which, its status, and the op with its shapes.
  case library(call: String, status: String, op: String)
  /// The element type is none that the processor's kernels compute with.
  case element(String, op: String)
  /// No memory for this many bytes.
  case memory(byteCount: Int)
  /// What a program would fill, and what the system or the control group has left, in bytes.
  case room(asked: Int, free: Int)

  public var description: String {
    switch self {
    case .library(let call, let status, let op):
      return "oneDNN: \(call) gives \(status) for \(op); try --device cpu with f32, or update libdnnl"
    case .element(let element, let op):
      return "the CPU backend has no \(element) arithmetic for \(op); run the model in f32"
    case .memory(let byteCount):
      return "no memory for \(byteCount) bytes; close other programs or choose a smaller size"
    case .room(let asked, let free):
      return
        "no memory for the model at this size: it takes \((asked + 999_999) / 1_000_000) MB, and "
        + "\(free / 1_000_000) MB are free; choose a smaller --size, a smaller autoencoder with --vae, or close other "
        + "programs"
    }
  }

  /// EX_OSERR or EX_SOFTWARE of sysexits.h.
  public var exitCode: Int32 {
    switch self {
    case .memory, .room: return 71
    case .library, .element: return 70
    }
  }
}

/// Throws where a oneDNN call did not succeed.
func check(_ status: dnnl_status_t, _ call: String, _ op: @autoclosure () -> String) throws {
  guard status != dnnl_success else { return }
  if status == dnnl_out_of_memory { throw CPUError.memory(byteCount: 0) }
  throw CPUError.library(call: call, status: String(cString: dnnl_status2str(status)), op: op())
}
