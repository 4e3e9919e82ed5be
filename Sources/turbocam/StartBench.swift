import Diffusion
import Filter
import Frames

/// From the start of the program to its first repainted picture, in a process of its own.
struct StartBench {
  private let options: ModelOptions
  private static let runs = 3

  init(_ options: ModelOptions) { self.options = options }

  func run() throws -> JSON {
    var best = Double.infinity
    var memory = 0
    for _ in 0..<Self.runs {
      let start = Clock.now()
      memory = max(memory, try Child(arguments, keepsOutput: false).peakMemory)
      best = min(best, Double(Clock.now() - start) / 1e9)
    }
    return .object([
      "first_picture_s": .number(rounded(best, 3)), "runs": .integer(Self.runs),
      "peak_memory_mb": .number(rounded(Double(memory) / 1e6, 1)),
    ])
  }

  private var arguments: [String] {
    var words = ["run", "--quiet", "--input", "test", "--frames", "1", "--output", "-"] + options.naming
    if let threads = options.threads { words += ["--threads", String(threads)] }
    if options.device != .automatic { words += ["--device", options.device.description] }
    let products = options.products
    if products.sums != .f32 { words += ["--sums", products.sums.rawValue] }
    if products.linears != .f16 { words += ["--linears", products.linears.rawValue] }
    if let size = options.size { words += ["--size", size.description] }
    if let steps = options.steps { words += ["--steps", String(steps)] }
    return words
  }
}
