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

  public var description: String {
    switch self {
    case .library(let call, let status, let op):
      return "oneDNN: \(call) gives \(status) for \(op); try --device cpu with f32, or update libdnnl"
    case .element(let element, let op):
      return "the CPU backend has no \(element) arithmetic for \(op); run the model in f32"
    case .memory(let byteCount):
      return "no memory for \(byteCount) bytes; close other programs or choose a smaller size"
    }
  }

  /// EX_OSERR or EX_SOFTWARE of sysexits.h.
  public var exitCode: Int32 {
    if case .memory = self { return 71 }
    return 70
  }
}

/// Throws where a oneDNN call did not succeed.
func check(_ status: dnnl_status_t, _ call: String, _ op: @autoclosure () -> String) throws {
  guard status != dnnl_success else { return }
  if status == dnnl_out_of_memory { throw CPUError.memory(byteCount: 0) }
  throw CPUError.library(call: call, status: String(cString: dnnl_status2str(status)), op: op())
}
