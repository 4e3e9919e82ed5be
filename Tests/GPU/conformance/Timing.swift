import CUDABackend
import Diffusion
import Engine

/// How long a model's parts and the whole frame take, beside what was predicted and what the GPU cannot fall short of.
enum Timing {
  private static let warmUps = 50

  /// `linears`: what linear layers behind a layer norm are multiplied in.
  static func run(folder: String, runs: Int, linears: ProductFormat.Linears) throws -> Report {
    let backend = try CUDABackend.first(products: ProductFormat(linears: linears))
    let model = try ModelFolder(path: folder)
    let card = Card(backend.device)
    var report = Report()
    report.add("device", .string(backend.description))
    report.add("peak_tflops", .number(card.operations(.f16) / 1e12))
    report.add("peak_tb_s", .number(card.bandwidth / 1e12))
    // Kept until the frame is compiled, which then shares their weights.
    var parts: [any Executable] = []
    for part in Part.Name.allCases {
      report.add(
        part.rawValue,
        attempt(&report.isPassed) { try time(part, model, backend, runs, &parts) })
    }
    defer { withExtendedLifetime(parts) {} }
    report.add("frame", attempt(&report.isPassed) { try timeFrame(model, backend, card, runs) })
    return report
  }

  /// One that fails is reported; the others go on.
  private static func attempt(_ isPassed: inout Bool, _ body: () throws -> JSON) -> JSON {
    do { return try body() } catch {
      isPassed = false
      return .string("\(error)")
    }
  }

  // MARK: Parts

  private static func time(
    _ name: Part.Name, _ model: ModelFolder, _ backend: CUDABackend, _ runs: Int,
    _ kept: inout [any Executable]
  ) throws -> JSON {
    let part = try Part(model, name, backend, taps: false) { shape($0, model) }
    let executable = try backend.compile(part.graph, weights: part.model.weights) { _ in }
    kept.append(executable)
    var seed = 1
    try part.fill(executable) { name in
      seed += 1
      let count = (shape(name, model) ?? []).reduce(1, *)
      return name == "timestep" ? [499] : TorchGenerator.numbers(count, seed: seed)
    }
    return .object(try measure(backend, executable, runs) { try executable.run() })
  }

  /// In PyTorch's order, for the model's own size.
  private static func shape(_ name: String, _ model: ModelFolder) -> [Int]? {
    let side = model.nativeWidth
    let small = side / model.autoencoder.encoderFactor
    let channels = model.autoencoder.latentChannels
    switch name {
    case "sample", "latent": return [1, channels, small, small]
    case "timestep": return [1]
    case "context": return [1, 77, model.contextWidth]
    case "text_embeds": return model.pooledWidth.map { [1, $0] }
    case "time_ids": return [1, 6]
    case "image": return [1, 3, side, side]
    default: return nil
    }
  }

  // MARK: The frame

  private static func timeFrame(_ model: ModelFolder, _ backend: CUDABackend, _ card: Card, _ runs: Int)
    throws -> JSON
  {
    let holder = Holder(backend)
    let options = Pipeline.Options(width: model.nativeWidth, height: model.nativeHeight, posterior: .mean)
    let start = now()
    let pipeline = try Pipeline(model: model, options: options, backend: holder)
    _ = try pipeline.apply(PipelineSettings(prompt: "ink drawing", strength: 0.5, seed: 0))
    try pipeline.withImage { bytes in
      for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 2_654_435_761 >> 13) }
    }
    try pipeline.run()
    let opened = now() - start
    guard let executable = holder.executable else { throw CheckError("nothing was compiled") }
    let levels = try pipeline.withPicture { Set($0).count }
    let times = try measure(backend, executable, runs) { try pipeline.run() }
    let ops = try pipeline.profile().filter { $0.cadence == .frame }
    let predicted = try Pipeline(model: model, options: options, backend: PredictingBackend(card)).profile()
      .filter { $0.cadence == .frame }
    let memory = pipeline.memory
    return .object(
      JSONObject(
        times.map { .init(name: $0.key, value: $0.value) } + [
          .init(name: "open_s", value: .number(opened)),
          .init(name: "overlaps_launches", value: .bool(try backend.overlapsLaunches(of: executable))),
          .init(name: "levels", value: .number(Double(levels))),
          .init(
            name: "memory_mb", value: .number(Double(memory.weights + memory.settings + memory.arena) / 1e6)),
          .init(name: "ops_ms", value: .number(ops.reduce(0) { $0 + $1.seconds } * 1e3)),
          .init(name: "floor_ms", value: .number(floor(predicted, card) * 1e3)),
          .init(name: "predicted_ms", value: .number(predicted.reduce(0) { $0 + $1.seconds } * 1e3)),
          .init(name: "stages", value: table(ops, predicted, card, \.stage)),
          .init(name: "kernels", value: table(ops, predicted, card) { kernel($0.label) }),
        ]))
  }

  /// Measured labels are "linear f16[…] … → f16[…] product ELEMENT=1 …"; predicted ones are the kernel's name.
  private static func kernel(_ label: String) -> String {
    let rest = label.split(separator: "→").last ?? ""
    let words = (label.contains("→") ? rest : label[...]).split(separator: " ")
    return String((label.contains("→") ? words.dropFirst().first : words.first) ?? "")
  }

  private static func floor(_ ops: [OpTime], _ card: Card) -> Double {
    ops.reduce(0) { $0 + card.floor(operations: $1.operations, $1.element, bytes: $1.byteCount) }
  }

  private static func table(
    _ measured: [OpTime], _ predicted: [OpTime], _ card: Card, _ name: (OpTime) -> String
  ) -> JSON {
    let (found, expected) = (
      Dictionary(grouping: measured, by: name), Dictionary(grouping: predicted, by: name)
    )
    func milliseconds(_ ops: [OpTime]?) -> JSON {
      ops.map { .number($0.reduce(0) { $0 + $1.seconds } * 1e3) } ?? .null
    }
    return .array(
      Set(found.keys).union(expected.keys).sorted().map { key in
        .object([
          "name": .string(key), "ops": .number(Double(found[key]?.count ?? 0)),
          "ms": milliseconds(found[key]), "predicted_ms": milliseconds(expected[key]),
          "floor_ms": .number(floor(expected[key] ?? [], card) * 1e3),
        ])
      })
  }

  // MARK: Measuring

  /// The middle and the 99th percentile: of the GPU's clock over frames back to back, and of the host's from before
  /// the upload to after the download.
  private static func measure(
    _ backend: CUDABackend, _ executable: any Executable, _ runs: Int, _ run: () throws -> Void
  ) throws -> KeyValuePairs<String, JSON> {
    for _ in 0..<min(warmUps, runs) { try run() }
    let events = try backend.replayTimes(of: executable, count: runs).sorted()
    let hosts = try (0..<runs).map { _ in
      let start = now()
      try run()
      return now() - start
    }.sorted()
    func at(_ times: [Double], _ share: Double) -> JSON {
      .number(times[min(times.count - 1, Int(Double(times.count) * share))] * 1e3)
    }
    return [
      "gpu_ms": at(events, 0.5), "gpu_p99_ms": at(events, 0.99), "host_ms": at(hosts, 0.5),
      "host_p99_ms": at(hosts, 0.99), "runs": .number(Double(runs)),
    ]
  }
}

/// Keeps what a pipeline compiles.
private final class Holder: Backend {
  private let backend: CUDABackend
  private(set) var executable: (any Executable)?
  init(_ backend: CUDABackend) { self.backend = backend }
  var description: String { backend.description }
  var preferredElement: ElementType { backend.preferredElement }
  var wideElement: ElementType { backend.wideElement }
  func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  {
    let made = try backend.compile(graph, weights: weights, progress: progress)
    executable = made
    return made
  }
}

extension TorchGenerator {
  static func numbers(_ count: Int, seed: Int) -> [Float] {
    var generator = TorchGenerator(seed: seed)
    return generator.normals(count)
  }
}
