import CUDABackend
import Diffusion
import Engine
import Glibc
import TestSupport

/// A part of a model by itself, as PyTorch is asked for it: Tests/GPU/peers.py writes the inputs and reads the outputs.
struct Part {
  let graph = Graph()
  /// In the order of the graph's inputs, `[H, W, C]`.
  private(set) var inputs: [(name: String, shape: [Int])] = []
  let model: ModelFolder

  enum Name: String, CaseIterable { case unet, encode, decode }

  /// `shapes`: of the inputs, in PyTorch's order: sample [1, C, H, W], timestep [1], context [1, T, D], text_embeds
  /// [1, P], time_ids [1, 6]; image [1, 3, H, W]; latent [1, C, h, w].
  init(
    _ model: ModelFolder, _ part: Name, _ backend: CUDABackend, taps: Bool, shapes: (String) -> [Int]?
  ) throws {
    self.model = model
    switch part {
    case .unet: try writeUNet(backend, taps: taps, shapes)
    case .encode, .decode: try writeAutoencoder(part, backend, shapes)
    }
  }

  private mutating func input(_ name: String, _ shapes: (String) -> [Int]?) throws -> Value {
    guard let found = shapes(name) else { throw CheckError("there is no input \(name)") }
    var shape = found
    if shape.count == 4 { shape = [shape[2], shape[3], shape[1]] }
    if shape.count == 3, name == "context" { shape.removeFirst() }
    if name == "time_ids" { shape.removeFirst() }
    inputs.append((name, shape))
    return graph.input(name, shape, .f32, .frame)
  }

  private mutating func writeUNet(_ backend: CUDABackend, taps: Bool, _ shapes: (String) -> [Int]?) throws {
    let unet = UNet2DConditionModel(try model.scope("unet", graph, backend.preferredElement), model.unet)
    var added: UNet2DConditionModel.Added?
    if model.isXL {
      added = UNet2DConditionModel.Added(
        textEmbeds: try input("text_embeds", shapes), timeIDs: try input("time_ids", shapes))
    }
    let graph = graph
    let result = unet(
      try input("sample", shapes), timestep: try input("timestep", shapes),
      context: try input("context", shapes), added: added,
      tap: { name, value in
        if taps, name.contains("block"), !name.contains(".res.") { graph.output(name, value) }
      })
    graph.output("conv_out", graph.cast(result, .f32))
  }

  private mutating func writeAutoencoder(_ part: Name, _ backend: CUDABackend, _ shapes: (String) -> [Int]?)
    throws
  {
    let scope = try model.scope(
      "vae", graph, model.hasWideAutoencoder ? backend.wideElement : backend.preferredElement)
    let autoencoder = Autoencoder(scope, model.autoencoder)
    if part == .encode {
      graph.output("moments", autoencoder.encode(try input("image", shapes)))
    } else {
      graph.output("image", graph.cast(autoencoder.decode(try input("latent", shapes)), .f32))
    }
  }

  /// Writes numbers in PyTorch's order, pictures with their channels first.
  func fill(_ executable: any Executable, _ numbers: (String) throws -> [Float]) throws {
    for (name, shape) in inputs {
      var values = try numbers(name)
      if shape.count == 3 {
        let (area, channels) = (shape[0] * shape[1], shape[2])
        values = (0..<values.count).map { values[$0 % channels * area + $0 / channels] }
      }
      try values.withUnsafeBytes { try executable.write(name, $0) }
    }
  }

  // MARK: The command

  static func run(
    folder: String, part: String, inputs path: String, output: String, linears: ProductFormat.Linears
  ) throws -> Report {
    guard let name = Name(rawValue: part) else { throw CheckError("no part \(part)") }
    let backend = try CUDABackend.first(products: ProductFormat(linears: linears))
    let tensors = try SafetensorsFile(path: path)
    let part = try Part(ModelFolder(path: folder), name, backend, taps: true) { tensors[$0]?.shape }
    let start = now()
    let executable = try backend.compile(part.graph, weights: part.model.weights) { _ in }
    let opened = now() - start
    try part.fill(executable) { try floats(tensors, $0) }
    try executable.run()
    var report = Report()
    var shapes: [JSONObject.Member] = []
    for entry in part.graph.outputs {
      guard let type = executable.type(of: entry.name) else { continue }
      let values = try executable.withOutput(entry.name) { ElementCodec.decode($0, type.element) }
      report.isPassed = report.isPassed && values.allSatisfy(\.isFinite)
      try values.withUnsafeBytes { try writeFile("\(output)/\(entry.name).f32", $0) }
      shapes.append(.init(name: entry.name, value: .array(type.shape.map { .number(Double($0)) })))
    }
    report.add("outputs", .object(JSONObject(shapes)))
    report.add("open_s", .number(opened))
    report.add("weights_mb", .number(Double(executable.memory.weights) / 1e6))
    report.add("arena_mb", .number(Double(executable.memory.arena) / 1e6))
    return report
  }
}
