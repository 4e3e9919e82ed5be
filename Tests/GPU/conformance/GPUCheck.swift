import CUDABackend
import Diffusion
import Engine
import Glibc

/// What Tests/GPU/check runs on a machine with a GPU. Each command writes JSON objects on standard output, one a line,
/// as it comes to know what is in them; the exit code is 0 where everything passed, 1 where something did not, 2 where
/// it could not be tried. AFTER: where a list is gone on with, whose name was told last.
@main enum GPUCheck {
  static let usage = """
    Usage: gpu-check COMMAND
      info                                   what of CUDA is here
      compile SHARE OF                       every kernel whose number leaves SHARE when divided by OF, for later starts
      fragments WRAPPERS.cu [AFTER]          the words of device.cuh and warpgroup.cuh beside plain loops
      ops BACKEND EVERY SECONDS [AFTER]      every op (every EVERY-th case) beside the reference, by our kernels (plain),
                                             cublaslt, warpgroups, or eightbits
      pictures FOLDER...                     recorded pictures of small models
      part FOLDER PART INPUTS OUT [f16|f8]   runs unet, encode or decode on tensors of a safetensors file; OUT gets NAME.f32
      time FOLDER RUNS [f16|f8]              times of a model's parts and of the whole frame
    f8: linear layers of eight bits
    """

  static func main() {
    let words = Array(CommandLine.arguments.dropFirst())
    do {
      exit(try run(words).isPassed ? 0 : 1)
    } catch {
      Report.tell("error", .string("\(error)"))
      exit(2)
    }
  }

  private static func run(_ words: [String]) throws -> Report {
    let rest = Array(words.dropFirst())
    switch (words.first, rest.count) {
    case ("info", 0): return try Info.run()
    case ("compile", 2):
      guard let share = Int(rest[0]), let count = Int(rest[1]), count > 0 else { break }
      return try Kernels.run(share: share, of: count)
    case ("fragments", 1...2):
      return try Fragments(path: rest[0], after: rest.count > 1 ? rest[1] : nil).run()
    case ("ops", 3...4):
      guard let backend = Ops.Products(rawValue: rest[0]) else { break }
      return try Ops(
        backend, every: max(1, Int(rest[1]) ?? 1), after: rest.count > 3 ? rest[3] : nil
      ).run(seconds: Double(rest[2]) ?? 0)
    case ("pictures", 1...): return try Pictures.run(rest)
    case ("part", 4...5):
      guard let linears = linears(rest, 4) else { break }
      return try Part.run(
        folder: rest[0], part: rest[1], inputs: rest[2], output: rest[3], linears: linears)
    case ("time", 2...3):
      guard let linears = linears(rest, 2) else { break }
      return try Timing.run(folder: rest[0], runs: max(1, Int(rest[1]) ?? 1), linears: linears)
    default: break
    }
    throw CheckError(usage)
  }

  private static func linears(_ words: [String], _ place: Int) -> ProductFormat.Linears? {
    ProductFormat.Linears(rawValue: words.count > place ? words[place] : "f16")
  }
}

struct CheckError: Error, CustomStringConvertible {
  let description: String
  init(_ text: String) { description = text }
}

/// What a command found. It is told at once: of a process that ends badly the rest is kept.
struct Report {
  var isPassed = true

  func add(_ name: String, _ value: JSON) { Self.tell(name, value) }

  /// That it is being tried: where nothing follows, the process ended at it.
  func begin(_ name: String) { add(name, .string("began")) }

  static func tell(_ name: String, _ value: JSON) {
    print(JSON.object(JSONObject([.init(name: name, value: value)])).text)
    fflush(nil)
  }
}

/// The rest of a list behind a name that was told last.
struct Resumption {
  /// nil: from the first on.
  var after: String?

  /// Whether this one is to be tried.
  mutating func takes(_ name: String) -> Bool {
    if after == nil { return true }
    if after == name { after = nil }
    return false
  }
}

enum Info {
  static func run() throws -> Report {
    let system = CUDASystem.survey()
    let report = Report()
    func text(_ found: Result<CUDASystem.Library, CUDAError>) -> JSON {
      switch found {
      case .success(let library): return .string("\(library.versionText), \(library.path)")
      case .failure(let error): return .string("\(error)")
      }
    }
    report.add("driver", text(system.driver))
    report.add("nvrtc", text(system.compiler))
    report.add("cublaslt", text(system.products))
    report.add("has_cublaslt", .bool((try? system.products.get()) != nil))
    report.add(
      "gpus",
      .array(
        system.gpus.map {
          .string("\($0.device.name), \($0.device.capabilityText), \($0.device.memory / 1_000_000) MB")
        }))
    report.add("device", .string(try CUDABackend.first().description))
    return report
  }
}

/// Kernels compiled for this machine before anything needs them.
enum Kernels {
  static func run(share: Int, of count: Int) throws -> Report {
    var report = Report()
    let backend = try CUDABackend.first()
    var compiled = 0
    for module in backend.kernelModules.enumerated() where module.offset % count == share {
      do { compiled += try backend.prepare(kernels: module.element) ? 1 : 0 } catch {
        report.isPassed = false
        report.add(module.element, .string("\(error)"))
      }
      report.add("compiled", .number(Double(compiled)))
    }
    return report
  }
}
