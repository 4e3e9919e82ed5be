import Base
import CUDABackend
import Diffusion
import Engine
import TestSupport
import Testing

/// The configurations of SDXL-Turbo, SD-Turbo and their kin ask for the very tensors that diffusers makes of
/// them (`Fixtures/make/published.py`).
struct PublishedTests {
  private let entries: [JSONObject]

  init() throws {
    let file = try Config(path: Parity.root + "/published.json").object
    entries = (file["entries"]?.array ?? []).compactMap(\.object)
  }

  private func entries(_ module: String) -> [JSONObject] {
    entries.filter { $0["module"] == .string(module) }
  }

  private func config(_ entry: JSONObject) throws -> Config {
    Config(path: "config.json", object: try #require(entry["config"]?.object))
  }

  @Test func unetsHaveTheirTensors() throws {
    #expect(entries("unet").count == 9)
    for entry in entries("unet") {
      try compare(entry) { _ = UNet2DConditionModel($0, try UNetConfig(config(entry))) }
    }
  }

  @Test func autoencodersHaveTheirTensors() throws {
    #expect(entries("vae").count == 6)
    for entry in entries("vae") {
      let settings = try AutoencoderConfig(config(entry))
      try compare(entry) { _ = Autoencoder($0, settings) }
      #expect(settings.encoderFactor == 8 && settings.latentChannels == 4)
    }
  }

  @Test func textEncodersHaveTheirTensors() throws {
    #expect(entries("text_encoder").count == 3)
    for entry in entries("text_encoder") {
      let kind = try #require(entry["config"]?.object?["architectures"]?.array?.first?.string)
      let settings = try CLIPTextConfig(
        config(entry), withProjection: kind == "CLIPTextModelWithProjection")
      #expect(settings.positions == 77)
      try compare(entry) { _ = CLIPTextModel($0, settings) }
    }
  }

  @Test func schedulersHaveTheirNoiseLevels() throws {
    #expect(entries("scheduler").count == 5)
    for entry in entries("scheduler") {
      let found = try SchedulerConfig(config(entry)).sigmas
      let expected = try #require(entry["sigmas"]?.array).compactMap(\.double)
      try #require(expected.count == 2)
      #expect(abs(found[0] - expected[0]) <= 1e-6 * expected[0])
      #expect(abs(found[found.count - 1] - expected[1]) <= 1e-6 * expected[1])
    }
  }

  // MARK: Whole folders

  /// Folders as they are downloaded, with holes for weights: every check of a folder passes at full size, and
  /// the graph of a picture can be written.
  @Test(arguments: ["sdxl-turbo", "sd-turbo"], ["", "taesdxl"])
  func foldersAreAccepted(name: String, vae: String) throws {
    let folder = try folder(name, vae)
    defer { withExtendedLifetime(folder) {} }
    let model = try ModelFolder(path: folder.path)
    let isXL = name == "sdxl-turbo"
    #expect(model.isXL == isXL && model.nativeWidth == 512)
    #expect(model.scheduler.kind == (isXL ? .eulerAncestral : .euler))
    #expect(try GraphTaker.graph(of: folder.path).nodes.count > 2000)
  }

  /// The work of a frame's UNet against a count with PyTorch's own shapes (diffusers 0.42.1, two operations a
  /// multiply-add, what depends on prompt and timestep left out): 1536 GFLOP and 4.40 GB of weights for SDXL-Turbo,
  /// 800.4 GFLOP and 1.625 GB for SD-Turbo. Doubled pictures are convolved as they were small: 33.6 and 37.7 GFLOP less.
  @Test(arguments: [("sdxl-turbo", 1536, 33.6, 4.40), ("sd-turbo", 800.4, 37.7, 1.625)])
  func aFrameHasTheWorkThatWasCounted(name: String, count: Double, saved: Double, weights: Double) throws {
    let folder = try folder(name, "taesdxl")
    defer { withExtendedLifetime(folder) {} }
    let model = try ModelFolder(path: folder.path)
    let card = try #require(Card.known.first { $0.name == "H200" })
    func unet(_ fuses: Bool) throws -> [OpTime] {
      let pipeline = try Pipeline(
        model: model, options: Pipeline.Options(width: 512, height: 512, posterior: .mean),
        backend: PredictingBackend(card, fuses: fuses))
      return try pipeline.profile().filter { $0.cadence == .frame && $0.stage == "denoise" }
    }
    let (plain, fused) = (try unet(false), try unet(true))
    func operations(_ launches: [OpTime]) -> Double { launches.reduce(0) { $0 + $1.operations } / 1e9 }
    #expect(abs(operations(plain) - count) < 0.003 * count, "\(operations(plain))")
    // A border of one pixel is computed beyond them.
    #expect(abs(operations(fused) - (count - saved)) < 0.005 * count, "\(operations(fused))")
    #expect(fused.count < plain.count)
    // Skip connections are written where they are read, norms are part of the products that follow.
    #expect(!fused.contains { ["copy", "layer_norm"].contains($0.label) })
    #expect(plain.contains { $0.label == "layer_norm" })
    let graph = try GraphTaker.graph(of: model.path, element: .f16, size: 512)
    let read = graph.nodes.filter { $0.cadence == .frame && $0.stage == "denoise" }.flatMap(\.inputs)
    let bytes = Set(read).filter { graph[$0].cadence == .load }.reduce(0) { $0 + graph.type($1).byteCount }
    #expect(abs(Double(bytes) / 1e9 - weights) < 0.01 * weights, "\(bytes)")
    // What no card can fall short of, and what kernels that are not perfect take.
    let floor = fused.reduce(0) {
      $0 + card.floor(operations: $1.operations, $1.element, bytes: $1.byteCount)
    }
    let seconds = fused.reduce(0) { $0 + $1.seconds }
    #expect(
      floor >= Double(bytes) / card.bandwidth && seconds >= floor + Double(fused.count) * card.launch * 0.5)
    #expect(seconds < 5 * floor)
  }

  private func folder(_ name: String, _ vae: String) throws -> TemporaryFolder {
    let isXL = name == "sdxl-turbo"
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + (isXL ? "/sdxl-tiny" : "/sd-tiny"))
    try place("unet", entry("unet", name), folder) { UNet2DConditionModel($0, try UNetConfig($1)) }
    try place("vae", entry("vae", vae.isEmpty ? name : vae), folder) {
      Autoencoder($0, try AutoencoderConfig($1))
    }
    try place("text_encoder", entry("text_encoder", name), folder) {
      CLIPTextModel($0, try CLIPTextConfig($1, withProjection: false))
    }
    if isXL {
      try place("text_encoder_2", entry("text_encoder", name + "-2"), folder) {
        CLIPTextModel($0, try CLIPTextConfig($1, withProjection: true))
      }
    }
    let scheduler = try #require(try entry("scheduler", name)["config"])
    try folder.replace("scheduler/scheduler_config.json", Array(scheduler.text.utf8))
    let kind = try #require(scheduler.object?["_class_name"]?.string)
    try folder.set("model_index.json", "scheduler", "[\"diffusers\", \"\(kind)\"]")
    return folder
  }

  private func entry(_ module: String, _ name: String) throws -> JSONObject {
    try #require(entries(module).first { $0["name"] == .string(name) }, "no \(module) \(name)")
  }

  /// Gives a component of the folder a published configuration and a file of its tensors in half precision.
  private func place<Model>(
    _ component: String, _ entry: JSONObject, _ folder: TemporaryFolder,
    _ model: (Scope, Config) throws -> Model
  ) throws {
    let config = try config(entry)
    let shapes = try shapes { _ = try model($0, config) }
    var end = 0
    let members = shapes.sorted { $0.key < $1.key }.map { name, shape in
      let start = end
      end += 2 * shape.reduce(1, *)
      return "\"\(name)\":{\"dtype\":\"F16\",\"shape\":\(shape),\"data_offsets\":[\(start),\(end)]}"
    }
    let header = Array("{\(members.joined(separator: ","))}".utf8)
    let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
    for file in names(in: folder.path + "/" + component) ?? [] {
      folder.remove(component + "/" + file)
    }
    let name = component.hasPrefix("text") ? "model" : "diffusion_pytorch_model"
    try folder.write(
      "\(component)/\(name).fp16.safetensors", length + header, count: 8 + header.count + end)
    try folder.write("\(component)/config.json", JSON.object(config.object).text)
  }

  // MARK: Tensors

  /// The tensors that a model's layers ask for, by name.
  private func shapes(_ write: (Scope) throws -> Void) throws -> [String: [Int]] {
    let folder = try TemporaryFolder()
    let file = try folder.write("empty.safetensors", [2, 0, 0, 0, 0, 0, 0, 0] + Array("{}".utf8))
    let graph = Graph()
    try write(
      Scope(graph: graph, component: "it", checkpoint: try Checkpoint(path: file), element: .f32))
    var shapes: [String: [Int]] = [:]
    for node in graph.nodes {
      if case .weight(let name) = node.op { shapes[String(name.dropFirst("it/".count))] = node.type.shape }
    }
    return shapes
  }

  private func compare(_ entry: JSONObject, _ write: (Scope) throws -> Void) throws {
    let shapes = try shapes(write)
    let name = entry["name"]?.string ?? ""
    #expect(shapes.count == entry["tensors"]?.int, "\(name)")
    #expect(shapes.values.reduce(0) { $0 + $1.reduce(1, *) } == entry["parameters"]?.int, "\(name)")
    #expect(checksum(shapes) == entry["checksum"]?.string, "\(name)")
  }

  /// FNV-1a over a line for each tensor.
  private func checksum(_ shapes: [String: [Int]]) -> String {
    var hash = FNV()
    for name in shapes.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
      let line = ([name] + (shapes[name] ?? []).map(String.init)).joined(separator: " ") + "\n"
      hash.add(line.utf8)
    }
    let digits = String(hash.value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
