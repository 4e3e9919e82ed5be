import CPUBackend
import CUDABackend
import Engine

/// `--device`: where to compute.
enum Device: Equatable, CustomStringConvertible {
  /// An NVIDIA GPU where that works, else the processor.
  case automatic
  case cpu
  /// The GPUs of these numbers in turns; none: the first that kernels run on.
  case cuda([Int])

  /// As many as the driver can know of in one machine.
  private static let mostGPUs = 64

  /// Parses "auto", "cpu", "cuda", "cuda:N" and "cuda:N,N,..."; nil where it is none of them.
  init?(_ text: String) {
    switch text {
    case "auto": self = .automatic
    case "cpu": self = .cpu
    case "cuda": self = .cuda([])
    default:
      guard text.hasPrefix("cuda:") else { return nil }
      let parts = text.dropFirst("cuda:".count).split(separator: ",", omittingEmptySubsequences: false)
      let numbers = parts.compactMap(Self.number)
      guard numbers.count == parts.count, Set(numbers).count == parts.count, parts.count <= Self.mostGPUs
      else { return nil }
      self = .cuda(numbers)
    }
  }

  private static func number(_ digits: Substring) -> Int? {
    guard (1...4).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
      return nil
    }
    return Int(digits)
  }

  /// As it is written on the command line.
  var description: String {
    switch self {
    case .automatic: return "auto"
    case .cpu: return "cpu"
    case .cuda(let numbers):
      return numbers.isEmpty ? "cuda" : "cuda:" + numbers.map(String.init).joined(separator: ",")
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

  /// Makes a backend. `automatic` never throws for want of a GPU. `products`: what a GPU's tensor cores
  /// multiply and sum in; `threads`: of the processor's.
  func choose(products: ProductFormat = ProductFormat(), threads: Int? = nil) throws -> Choice {
    switch self {
    case .cpu: return Choice(backend: try Self.processor(threads))
    case .cuda(let numbers): return Choice(backend: try Self.gpus(numbers, products))
    case .automatic:
      do {
        return Choice(backend: try Self.gpu(nil, products))
      } catch {
        return Choice(backend: try Self.processor(threads), reason: "\(error)")
      }
    }
  }

  private static func processor(_ threads: Int?) throws -> CPUBackend {
    try CPUBackend(precision: .automatic, threads: threads)
  }

  private static func gpus(_ numbers: [Int], _ products: ProductFormat) throws -> any Backend {
    let backends = try numbers.map { try gpu($0, products) }
    switch backends.count {
    case 0: return try gpu(nil, products)
    case 1: return backends[0]
    default: return TurnsBackend(backends)
    }
  }

  private static func gpu(_ number: Int?, _ products: ProductFormat) throws -> CUDABackend {
    let prebuilt = Resources.kernels.map { PrebuiltKernels(folder: $0) }
    let backend =
      try number.map { try CUDABackend(ordinal: $0, prebuilt: prebuilt, products: products) }
      ?? CUDABackend.first(prebuilt: prebuilt, products: products)
    try backend.checkCompiler()
    return backend
  }
}
