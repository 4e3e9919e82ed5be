import Base
import CDNNL
import CKernels
import Engine
import Glibc

/// What can go wrong on the CPU.
public enum CPUError: BackendError, CustomStringConvertible, Equatable {
  /// A oneDNN call failed: which, its status, and the op with its shapes.
  case library(call: String, status: String, op: String)
  /// The element type is none that the processor's kernels compute with.
  case element(String, op: String)
  /// No memory for this many bytes.
  case memory(byteCount: Int)
  /// oneDNN found no memory: in which call, and the op with its shapes. It does not say for how much.
  case libraryMemory(call: String, op: String)
  /// Parallel work is to have so many threads, one of which could not be made: errno.
  case threads(count: Int, failure: Int32)
  /// What a program would fill, and what the system or the control group has left, in bytes.
  case room(asked: Int, free: Int)
  /// What a program would fill, and what the machine or the control group has in all, in bytes.
  case tooLarge(asked: Int, whole: Int)

  public var description: String {
    switch self {
    case .library(let call, let status, let op):
      return
        "oneDNN: \(call) gives \(status) for \(op); update libdnnl, or report it with what 'turbocam doctor' prints"
    case .element(let element, let op):
      return
        "the CPU backend has no \(element) arithmetic for \(op); report it with what 'turbocam doctor' prints"
    case .memory(let byteCount):
      return "no memory for \(byteCount) bytes; close other programs or choose a smaller size"
    case .libraryMemory(let call, let op):
      return
        "no memory for what oneDNN needs: \(call) for \(op); close other programs or choose a smaller size"
    case .threads(let count, let failure):
      return
        "no \(count) threads for the CPU: \(errorText(failure)); raise the limit of processes "
        + "(ulimit -u, docker's --pids-limit, systemd's TasksMax=), or take fewer: --threads 1"
    case .room(let asked, let free):
      return
        "no memory for the model at this size: it takes \(Self.megabytes(asked)) MB, and "
        + "\(free / 1_000_000) MB are free; choose a smaller --size, a smaller autoencoder with --vae, or close other "
        + "programs"
    case .tooLarge(let asked, let whole):
      return
        "no memory for the model at this size: it takes at least \(Self.megabytes(asked)) MB, and there are "
        + "\(whole / 1_000_000) MB in all; choose a smaller --size or a smaller autoencoder with --vae"
    }
  }

  private static func megabytes(_ bytes: Int) -> Int { bytes / 1_000_000 + (bytes % 1_000_000 > 0 ? 1 : 0) }

  public var endsPrograms: Bool { false }

  public var wantsMemory: Bool {
    switch self {
    case .memory, .libraryMemory, .room: return true
    case .library, .element, .threads, .tooLarge: return false
    }
  }

  /// EX_OSERR or EX_SOFTWARE of sysexits.h.
  public var exitCode: Int32 {
    switch self {
    case .memory, .libraryMemory, .room, .tooLarge, .threads: return 71
    case .library, .element: return 70
    }
  }
}

/// Throws where a oneDNN call did not succeed.
func check(_ status: dnnl_status_t, _ call: String, _ op: @autoclosure () -> String) throws {
  guard status != dnnl_success else { return }
  if status == dnnl_out_of_memory { throw CPUError.libraryMemory(call: call, op: op()) }
  throw CPUError.library(call: call, status: String(cString: dnnl_status2str(status)), op: op())
}

/// Has parallel work that the calling thread begins run on so many threads, oneDNN's included. With fewer than it was
/// prepared for, some of it would not be done.
func setThreads(_ count: Int) throws {
  let failure = tc_set_threads(Int32(count))
  guard failure == 0 else { throw CPUError.threads(count: count, failure: failure) }
}
