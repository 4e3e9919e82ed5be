import CPUBackend
import Diffusion
import Engine
import Testing

/// What `Fixtures/make/parity.py` wrote: see its head for every name.
struct Parity {
  static let root: String = {
    let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
    return tests.joined(separator: "/") + "/Fixtures/parity"
  }()

  /// Pipelines that are there: folders with a model_index.json.
  static let pipelines = ["sd-tiny", "sdxl-tiny", "odd-tiny"]

  let folder: String
  let tensors: SafetensorsFile
  let index: JSONObject

  init(_ name: String) throws {
    folder = Parity.root + "/" + name
    tensors = try SafetensorsFile(path: folder + "/outputs.safetensors")
    index = try Config(path: folder + "/outputs.json").object
  }

  var prompts: [String] { (index["prompts"]?.array ?? []).compactMap(\.string) }

  var cases: [Case] { (index["cases"]?.array ?? []).compactMap(\.object).map(Case.init) }

  func cases(_ module: String) -> [Case] { cases.filter { $0.module == module } }

  func shape(_ name: String) throws -> [Int] { try #require(tensors[name], "no tensor \(name)").shape }

  /// All of a tensor as floats, in the file's order.
  func floats(_ name: String) throws -> [Float] {
    let record = try #require(tensors[name], "no tensor \(name)")
    let type = try #require(record.type)
    return try tensors.withBytes(of: record) { ElementCodec.decode($0, type.element) }
  }

  func integers(_ name: String) throws -> [Int32] { try floats(name).map { Int32($0) } }

  /// What `model` makes of a picture's case, with the settings of the case; from text where that has no strength.
  func paint(_ picture: Case, _ model: ModelFolder, _ backend: any Backend) throws -> [Float] {
    let strength = picture.json["strength"]?.double
    let options = Pipeline.Options(
      width: picture.int("width"), height: picture.int("height"), steps: picture.int("evaluations"),
      task: strength == nil ? .textToImage : .imageToImage)
    let pipeline = try Pipeline(model: model, options: options, backend: backend)
    let prompt = picture.json["prompt"]?.string ?? ""
    _ = try pipeline.apply(
      PipelineSettings(prompt: prompt, strength: strength ?? 1, seed: picture.int("seed")))
    if strength != nil {
      let pixels = try floats(try #require(picture.input("image"))).map { UInt8($0) }
      try pipeline.withImage { $0.copyBytes(from: pixels) }
    }
    try pipeline.run()
    return try pipeline.withPicture { $0.map { Float($0) } }
  }

  /// A tensor `[1, C, H, W]` as `[H, W, C]`; of fewer dimensions as it is.
  func picture(_ name: String) throws -> [Float] {
    let (shape, floats) = (try shape(name), try floats(name))
    guard shape.count == 4 else { return floats }
    let (channels, area) = (shape[1], shape[2] * shape[3])
    return (0..<floats.count).map { floats[$0 % channels * area + $0 / channels] }
  }
}

/// One entry of outputs.json.
struct Case {
  let json: JSONObject
  var name: String { json["name"]?.string ?? "" }
  var module: String { json["module"]?.string ?? "" }

  func input(_ role: String) -> String? { json["inputs"]?.object?[role]?.string }
  func output(_ role: String) -> String? { json["outputs"]?.object?[role]?.string }
  var outputs: [(role: String, tensor: String)] {
    (json["outputs"]?.object?.members ?? []).compactMap { member in
      member.value.string.map { (member.name, $0) }
    }
  }
  func int(_ key: String) -> Int { json[key]?.int ?? 0 }
}

/// Where the models run, and in what.
enum Runner: CaseIterable {
  case reference, cpu, referenceBF16, cpuBF16

  /// Those that this processor has.
  static let allCases: [Runner] =
    [.reference, .cpu, .referenceBF16] + (CPUBackend.runsBfloat16 ? [.cpuBF16] : [])

  var element: ElementType { self == .reference || self == .cpu ? .f32 : .bf16 }

  func backend() throws -> any Backend {
    switch self {
    case .reference, .referenceBF16: return ReferenceBackend(element: element)
    case .cpu: return try CPUBackend(precision: .f32, threads: 1)
    case .cpuBF16: return try CPUBackend(precision: .bf16, threads: 1)
    }
  }

  /// In f32 1e-4; in bfloat16 one and a half times PyTorch's own error, or next to nothing where PyTorch keeps
  /// to float32.
  func limit(pyTorch error: Double) -> Double { element == .f32 ? 1e-4 : max(1.5 * error, 1e-6) }
}

/// Runs a graph once on f32 and i32 inputs and gives all outputs as floats.
func run(
  _ graph: Graph, _ weights: any WeightSource, _ inputs: [String: [Float]], _ runner: Runner
) throws -> [String: [Float]] {
  let executable = try runner.backend().compile(graph, weights: weights, progress: { _ in })
  for (name, numbers) in inputs {
    let type = try #require(executable.type(of: name), "no input \(name)")
    try ElementCodec.encode(numbers, type.element).withUnsafeBytes { try executable.write(name, $0) }
  }
  try executable.run()
  return try graph.outputs.reduce(into: [:]) { results, output in
    let element = graph.type(output.value).element
    results[output.name] = try executable.withOutput(output.name) { ElementCodec.decode($0, element) }
  }
}
