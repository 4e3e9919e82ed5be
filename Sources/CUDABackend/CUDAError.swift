import CCUDA
import Engine

/// What can go wrong between a graph and a GPU.
public enum CUDAError: BackendError, CustomStringConvertible, Equatable {
  /// A library is not there, or lacks a function: what was looked for, and what each place said.
  case library(String, tried: [String], remedy: String)
  /// There is no GPU to compute on, or not the one that was asked for.
  case device(String, remedy: String)
  /// The driver or the GPU is too old for what we run.
  case unsupported(String, remedy: String)
  /// A call of the driver failed: its name, the code and what the driver says of it, and what it was for.
  case call(String, code: Int, text: String, for: String)
  /// The GPU's memory does not suffice: for what, and what there is.
  case memory(String)
  /// The GPU's memory would not suffice were nothing else in it: for what, and what there is.
  case tooLarge(String)
  /// The computer has no more memory that it can lock in its place for the GPU: how much was asked for.
  case hostMemory(byteCount: Int)
  /// The GPU or its context is gone: nothing that was on it can be used again.
  case lost(String)
  /// A kernel could not be compiled.
  case compile(String, log: String)

  public var description: String {
    switch self {
    case .call: return "\(fact); '\(remedy)' tells what is installed"
    case .lost: return "\(fact); '\(remedy)' tells more"
    default: return "\(fact); \(remedy)"
    }
  }

  /// What is the matter.
  public var fact: String {
    switch self {
    case .library(let name, let tried, _): return "\(name) cannot be used: \(Self.summary(tried))"
    case .device(let fact, _), .unsupported(let fact, _): return fact
    case .call(let call, let code, let text, let purpose):
      return "\(call) gives error \(code) (\(text)) for \(purpose)"
    case .memory(let fact), .tooLarge(let fact): return "the GPU's memory does not suffice: \(fact)"
    case .hostMemory(let byteCount):
      return "the computer's page-locked memory does not suffice: cuMemHostAlloc finds no \(byteCount) bytes"
    case .lost(let fact): return "the GPU stopped working: \(fact)"
    case .compile(let kernel, let log): return "NVRTC cannot compile \(kernel): \(log)"
    }
  }

  /// What mends it, or tells more: for people who have read the fact.
  public var remedy: String {
    switch self {
    case .library(_, _, let remedy), .device(_, let remedy), .unsupported(_, let remedy): return remedy
    case .call: return "turbocam doctor"
    case .memory:
      return
        "close other programs that use the GPU, choose a smaller --size or model, or compute with --device cpu"
    case .tooLarge: return "choose a smaller --size or model, or compute with --device cpu"
    case .hostMemory:
      return "close other programs, raise the limit of a container or of WSL, or compute with --device cpu"
    case .lost: return "sudo dmesg | grep -i nvrm"
    case .compile: return "please report this with what 'turbocam doctor' prints"
    }
  }

  /// What the dynamic linker said, where it only did not find files as one.
  private static func summary(_ tried: [String]) -> String {
    let absence = ": cannot open shared object file: No such file or directory"
    let absent = tried.filter { $0.hasSuffix(absence) }.map { String($0.dropLast(absence.count)) }
    let others = tried.filter { !$0.hasSuffix(absence) }
    let missing = absent.isEmpty ? [] : ["\(absent.joined(separator: ", ")) not found"]
    return (others + missing).joined(separator: "; ")
  }

  public var endsPrograms: Bool {
    if case .lost = self { return true }
    return false
  }

  public var wantsMemory: Bool {
    switch self {
    case .memory, .hostMemory: return true
    default: return false
    }
  }

  /// Whether a call failed that may not fail when it is made in another way.
  var isCall: Bool {
    if case .call = self { return true }
    return false
  }

  /// EX_UNAVAILABLE, EX_OSERR or EX_SOFTWARE of sysexits.h.
  public var exitCode: Int32 {
    switch self {
    case .library, .device, .unsupported: return 69
    case .memory, .tooLarge, .hostMemory, .lost: return 71
    case .call, .compile: return 70
    }
  }
}
