import CUDABackend
import Diffusion
import Engine
import Glibc

/// What Tests/GPU/check runs on a machine with a GPU. Each command writes one JSON object on standard output; the
/// exit code is 0 where everything passed, 1 where something did not, 2 where it could not be tried.
@main enum GPUCheck {
  static let usage = """
    Usage: gpu-check COMMAND
      info                          what of CUDA is here
      fragments WRAPPERS.cu         the words of device.cuh beside plain loops
      ops EVERY SECONDS             every op (every EVERY-th case) beside the reference
      pictures FOLDER...            recorded pictures of small models
      part FOLDER PART INPUTS OUT   runs unet, encode or decode on tensors of a safetensors file; OUT gets NAME.f32
      time FOLDER RUNS [f16|f8]     times of a model's parts and of the whole frame; f8: linear layers of eight bits
    """

  static func main() {
    let words = Array(CommandLine.arguments.dropFirst())
    do {
      let report = try run(words)
      print(JSON.object(JSONObject(report.members)).text)
      exit(report.isPassed ? 0 : 1)
    } catch {
      print(JSON.object(JSONObject([.init(name: "error", value: .string("\(error)"))])).text)
      exit(2)
    }
  }

  private static func run(_ words: [String]) throws -> Report {
    let rest = Array(words.dropFirst())
    switch (words.first, rest.count) {
    case ("info", 0): return try Info.run()
    case ("fragments", 1): return try Fragments(path: rest[0]).run()
    case ("ops", 2): return try Ops.run(every: max(1, Int(rest[0]) ?? 1), seconds: Double(rest[1]) ?? 0)
    case ("pictures", 1...): return try Pictures.run(rest)
    case ("part", 4): return try Part.run(folder: rest[0], part: rest[1], inputs: rest[2], output: rest[3])
    case ("time", 2...3):
      guard let linears = ProductFormat.Linears(rawValue: rest.count > 2 ? rest[2] : "f16") else { break }
      return try Timing.run(folder: rest[0], runs: max(1, Int(rest[1]) ?? 1), linears: linears)
    default: break
    }
    throw CheckError(usage)
  }
}

struct CheckError: Error, CustomStringConvertible {
  let description: String
  init(_ text: String) { description = text }
}

/// What a command found.
struct Report {
  var isPassed = true
  var members: [JSONObject.Member] = []

  mutating func add(_ name: String, _ value: JSON) {
    members.append(JSONObject.Member(name: name, value: value))
  }
}

enum Info {
  static func run() throws -> Report {
    let system = CUDASystem.survey()
    var report = Report()
    func text(_ found: Result<CUDASystem.Library, CUDAError>) -> JSON {
      switch found {
      case .success(let library): return .string("\(library.versionText), \(library.path)")
      case .failure(let error): return .string("\(error)")
      }
    }
    report.add("driver", text(system.driver))
    report.add("nvrtc", text(system.compiler))
    report.add("cublaslt", text(system.products))
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
