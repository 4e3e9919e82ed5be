import CPUBackend
import CUDABackend
import Engine

/// `--device`: where to compute.
enum Device: Equatable, CustomStringConvertible {
  /// An NVIDIA GPU where that works, else the processor.
  case automatic
  case cpu
  /// The GPU of this number; nil: the first that kernels run on.
  case cuda(Int?)

  /// Parses "auto", "cpu", "cuda", "cuda:N"; nil where it is none of them.
  init?(_ text: String) {
    switch text {
    case "auto": self = .automatic
    case "cpu": self = .cpu
    case "cuda": self = .cuda(nil)
    default:
      let digits = text.dropFirst("cuda:".count)
      guard text.hasPrefix("cuda:"), !digits.isEmpty, digits.utf8.count <= 4,
        digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(digits)
      else { return nil }
      self = .cuda(number)
    }
  }

  /// As it is written on the command line.
  var description: String {
    switch self {
    case .automatic: return "auto"
    case .cpu: return "cpu"
    case .cuda(let number): return number.map { "cuda:\($0)" } ?? "cuda"
    }
  }

  /// What computes, and what people should know about that.
  struct Choice {
    var backend: any Backend
    /// Why it is not a GPU, where one was wanted.
    var reason: String?

    /// What people should know: who has no card is not bothered at each start.
    var note: String? { reason.flatMap { GPU.hasNVIDIA ? "computing on the CPU: \($0)" : nil } }
  }

  /// Makes a backend. `automatic` never throws for want of a GPU. `sums`: what a GPU's tensor cores sum in.
  func choose(sums: ElementType = .f32) throws -> Choice {
    switch self {
    case .cpu: return Choice(backend: try Self.processor())
    case .cuda(let number): return Choice(backend: try Self.gpu(number, sums))
    case .automatic:
      do {
        return Choice(backend: try Self.gpu(nil, sums))
      } catch {
        return Choice(backend: try Self.processor(), reason: "\(error)")
      }
    }
  }

  private static func processor() throws -> CPUBackend {
    try CPUBackend(precision: .automatic, threads: nil)
  }

  private static func gpu(_ number: Int?, _ sums: ElementType) throws -> CUDABackend {
    let prebuilt = Resources.kernels.map { PrebuiltKernels(folder: $0) }
    let backend =
      try number.map { try CUDABackend(ordinal: $0, prebuilt: prebuilt, sums: sums) }
      ?? CUDABackend.first(prebuilt: prebuilt, sums: sums)
    try backend.checkCompiler()
    return backend
  }
}
