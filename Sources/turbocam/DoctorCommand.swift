import Base
import CUDABackend
import Diffusion
import Filter
import Glibc
import Inputs
import Outputs

/// `turbocam doctor`: each thing a user needs, found or not, and the command that mends it.
struct DoctorCommand: Subcommand {
  static let name = "doctor"
  static let summary = "Check each thing a user needs and tell the command that mends it."
  static let synopsis = "[--json]"
  static let options = [Option("json", nil, "one JSON object on standard output")]
  static let notes = "Exit code 69 where something needed for a first picture is missing."

  private let json: Bool

  init(_ arguments: Arguments) throws {
    try arguments.expectOperands([])
    json = arguments.has("json")
  }

  func run() throws -> Int32 {
    let checks = Check.all()
    if json {
      try Terminal.print(JSON.object(["checks": .array(checks.map(\.json))]).text)
    } else {
      try Terminal.print(checks.map(\.text).joined(separator: "\n"))
    }
    return checks.contains { $0.isNeeded && !$0.isFound } ? ExitCode.unavailable : 0
  }
}

/// One thing a user needs.
struct Check {
  var name: String
  var isFound: Bool
  /// What was found, or what is missing.
  var fact: String
  /// The command that mends it, empty where nothing need be done.
  var remedy = ""
  /// Whether there is no picture without it.
  var isNeeded = false

  var text: String {
    let mark = isFound ? "ok     " : isNeeded ? "MISSING" : "absent "
    return "\(mark) \(name): \(fact)"
      + remedy.split(separator: "\n").map { "\n          \($0)" }.joined()
  }
  var json: JSON {
    .object([
      "name": .string(name), "found": .bool(isFound), "needed": .bool(isNeeded), "fact": .string(fact),
      "remedy": remedy.isEmpty ? .null : .string(remedy),
    ])
  }

  static func all() -> [Check] {
    let survey = Cameras.survey()
    return [processor, embeddedModel, demoClip, camera(survey), virtualCamera(survey), webPort] + cuda
      + [sdxlTurbo]
  }

  private static var processor: Check {
    do {
      return Check(name: "processor", isFound: true, fact: try Device.cpu.choose().backend.description)
    } catch {
      return Check(
        name: "processor", isFound: false, fact: "\(error)", isNeeded: true)
    }
  }

  private static var embeddedModel: Check {
    do {
      let path = try ModelFolder.find(ModelOptions.defaultModel).path
      return Check(name: "embedded model", isFound: true, fact: path, isNeeded: true)
    } catch {
      return Check(
        name: "embedded model", isFound: false, fact: "\(error)".firstLine,
        remedy: "make static && sudo make install    # in a checkout of turbocam", isNeeded: true)
    }
  }

  private static var demoClip: Check {
    guard let path = Resources.demoClip else {
      return Check(
        name: "demo clip", isFound: false, fact: "not beside the program",
        remedy: "make static && sudo make install    # in a checkout of turbocam")
    }
    return Check(name: "demo clip", isFound: true, fact: path)
  }

  private static var webPort: Check {
    do {
      let server = try HTTPServer(HTTPAddress(parsing: "http://127.0.0.1:8080"), options: SinkOptions())
      try server.open()
      return Check(name: "web port", isFound: true, fact: "127.0.0.1:8080 is free")
    } catch {
      let known = error as? OutputError
      return Check(
        name: "web port", isFound: false, fact: "127.0.0.1:8080: \(known?.fact ?? "\(error)")",
        remedy: known?.remedy ?? "")
    }
  }

  // MARK: CUDA

  /// A line for each thing that computing on a GPU needs, and for what `--device auto` comes to.
  private static var cuda: [Check] {
    let cuda = CUDASystem.survey()
    // NVIDIA's libraries are missed only where there is a card for them.
    let isThere = !cuda.gpus.isEmpty || GPU.hasNVIDIA
    return [gpu(cuda)] + (isThere ? cuda.parts.map(check) : []) + [device]
  }

  private static func gpu(_ cuda: CUDASystem) -> Check {
    if let gpu = cuda.gpus.first(where: { $0.obstacle == nil }) ?? cuda.gpus.first {
      let obstacle = gpu.obstacle ?? cuda.compilerObstacle(for: gpu.device)
      let isMissing = (try? cuda.compiler.get()) == nil
      // That NVRTC is missing has a line of its own.
      guard let obstacle, !isMissing || gpu.obstacle != nil else {
        return Check(name: "GPU", isFound: true, fact: gpu.text)
      }
      return Check(
        name: "GPU", isFound: false, fact: "\(gpu.device.name): \(obstacle.fact)", remedy: obstacle.remedy)
    }
    let gpus = GPU.list()
    guard let first = gpus.first(where: \.isNVIDIA) ?? gpus.first else {
      return Check(name: "GPU", isFound: false, fact: "none (one of NVIDIA's would be quicker)")
    }
    return Check(
      name: "GPU", isFound: false,
      fact: first.isNVIDIA ? "\(first.name) (\(first.driver)), without a driver that works" : first.text)
  }

  private static func check(_ part: CUDASystem.Part) -> Check {
    let name = part.key == "driver" ? "NVIDIA driver" : part.name
    switch part.found {
    case .success(let library): return Check(name: name, isFound: true, fact: part.fact(library))
    case .failure(let error):
      return Check(name: name, isFound: false, fact: error.fact, remedy: error.remedy)
    }
  }

  private static var device: Check {
    do {
      let choice = try Device.automatic.choose()
      let note = choice.note.map { " (\($0))" } ?? ""
      return Check(name: "computes on", isFound: true, fact: choice.backend.description + note)
    } catch {
      return Check(name: "computes on", isFound: false, fact: "\(error)".firstLine)
    }
  }

  private static var sdxlTurbo: Check {
    do {
      return Check(
        name: "SDXL-Turbo", isFound: true, fact: try ModelFolder.find("stabilityai/sdxl-turbo").path)
    } catch {
      return Check(
        name: "SDXL-Turbo", isFound: false,
        fact: "not downloaded; for non-commercial use (Stability AI's licence)",
        remedy: download)
    }
  }

  /// Where pipx puts programs is on the path only after the next login.
  private static var download: String {
    let files = #"stabilityai/sdxl-turbo "*.json" "*.txt" "*/*.fp16.safetensors""#
    let tiny = "madebyollin/taesdxl config.json diffusion_pytorch_model.safetensors"
    let isThere = isOnPath("hf")
    let hf = isThere ? "hf" : "~/.local/bin/hf"
    return (isThere ? "" : "sudo apt-get install pipx && pipx install huggingface_hub\n")
      + "\(hf) download \(files)\n\(hf) download \(tiny)    # its small autoencoder, for --vae"
  }

  private static func isOnPath(_ program: String) -> Bool {
    (FileSystem.environment("PATH") ?? "").split(separator: ":").contains {
      access("\($0)/\(program)", X_OK) == 0
    }
  }
}

extension String {
  var firstLine: String { String(prefix { $0 != "\n" }) }
}
