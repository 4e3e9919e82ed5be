import Diffusion
import Filter
import Frames

/// Models of the sizes that people run, on the processor: the embedded one at two sizes, and SDXL-Turbo's and
/// SD-Turbo's with weights drawn by rule (`weights.json`), whose pictures mean nothing and take as long as
/// any.
///
/// Each is measured by `bench --suite model` in a process of its own, so that memory is its own.
struct SizesBench {
  private let options: ModelOptions
  private let tellsOps: Bool

  private struct Entry {
    var name: String
    var model: String
    /// The folder of another autoencoder than the model's own.
    var autoencoder: String?
    var size: PictureSize
  }

  init(_ options: ModelOptions, tellsOps: Bool) { (self.options, self.tellsOps) = (options, tellsOps) }

  func run() throws -> JSON {
    let members = try entries().map { entry -> JSONObject.Member in
      Terminal.say("turbocam bench: cpu: \(entry.name)")
      return JSONObject.Member(name: entry.name, value: try measure(entry))
    }
    return .object(JSONObject(members))
  }

  /// All of them, or the model that was asked for.
  private func entries() throws -> [Entry] {
    if options.model != ModelOptions.defaultModel {
      let size = try options.size ?? options.open().nativePicture
      return [Entry(name: "\(options.model) \(size)", model: options.model, size: size)]
    }
    let spark = [256, 512].map { side in
      let size = PictureSize(width: side, height: side)
      return Entry(name: "spark \(size)", model: ModelOptions.defaultModel, size: size)
    }
    if let size = options.size {
      return [Entry(name: "spark \(size)", model: ModelOptions.defaultModel, size: size)]
    }
    let large = PictureSize(width: 512, height: 512)
    return try spark
      + [
        ("sd-turbo", "taesd", "SD-Turbo's size, TAESD"),
        ("sdxl-turbo", "taesdxl", "SDXL-Turbo's size, TAESDXL"),
        ("sdxl-turbo", nil, "SDXL-Turbo's size, its own autoencoder"),
      ].map { model, autoencoder, name in
        Entry(
          name: "\(name), \(large)", model: try Self.folder(model),
          autoencoder: try autoencoder.map(Self.folder),
          size: large)
      }
  }

  private static func folder(_ name: String) throws -> String {
    guard let path = Resources.sizes(name) else {
      throw BenchError(
        text: "the folder sizes/\(name) that comes with the program is missing; install it again")
    }
    return path
  }

  private func measure(_ entry: Entry) throws -> JSON {
    var words = ["bench", "--suite", "model", "--json", "--device", "cpu"]
    words += entry.model == options.model ? options.naming : ["--model", entry.model]
    words += entry.autoencoder.map { ["--vae", $0] } ?? []
    words += ["--size", entry.size.description]
    if let steps = options.steps { words += ["--steps", String(steps)] }
    if let threads = options.threads { words += ["--threads", String(threads)] }
    if tellsOps { words.append("--ops") }
    let child = try Child(words, keepsOutput: true)
    guard let found = try JSON.parse(child.output).object, let machine = found["machine"]?.object,
      let model = found["model"]?.object
    else { throw BenchError(text: "what \(words.joined(separator: " ")) printed is not a bench's result") }
    let peak = JSONObject.Member(name: "peak_gflops", value: machine["peak_gflops"] ?? .null)
    return .object(JSONObject([peak] + model.members))
  }
}
