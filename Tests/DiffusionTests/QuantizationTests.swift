import CPUBackend
import Diffusion
import Engine
import Glibc
import TestSupport
import Testing

/// A model of eight bits in a folder of its own, made as `turbocam quantize` makes it.
struct QuantizedModel {
  private let folder: TemporaryFolder
  let model: ModelFolder
  let path: String
  static let side = 64

  init(_ name: String) throws { try self.init(name, Self.open(name)) }

  init(_ name: String, _ source: ModelFolder) throws {
    let calibration = try Calibration(
      model: source, options: Self.options(source), backend: CPUBackend(overlap: .never))
    for seed in 1...3 {
      _ = try Self.picture(seed, calibration.pipeline)
      try calibration.watch()
    }
    folder = try TemporaryFolder()
    path = folder.path + "/int8"
    let record = QuantizedFolder.Record(
      program: "test", source: name, pictures: 3, width: Self.side, height: Self.side, steps: 1,
      strength: 0.5, prompts: ["ink"])
    try QuantizedFolder(source, path: path).write(calibration, record) { _ in }
    model = try ModelFolder(path: path)
  }

  static func open(_ name: String) throws -> ModelFolder {
    try name == "spark" ? ModelFolder.find(name) : ModelFolder(path: Parity(name).folder)
  }

  static func options(_ model: ModelFolder, steps: Int = 1) -> Pipeline.Options {
    let side = max(Self.side, 8 * model.autoencoder.encoderFactor)
    return Pipeline.Options(width: side, height: side, steps: steps, posterior: .mean)
  }

  /// Smooth colours with a few edges, repainted.
  static func picture(_ seed: Int, _ pipeline: Pipeline) throws -> [UInt8] {
    _ = try pipeline.apply(PipelineSettings(prompt: "ink", strength: 0.5, seed: 1))
    let width = pipeline.options.width
    try pipeline.withImage { bytes in
      for index in bytes.indices {
        let (x, y, channel) = (index / 3 % width, index / 3 / width, index % 3)
        let edge = (x / 16 + y / 24 + seed) % 3 == 0 ? 90 : 0
        bytes[index] = UInt8(truncatingIfNeeded: (x * (seed + channel) + y * 2) / 3 % 150 + edge)
      }
    }
    try pipeline.run()
    return try pipeline.withPicture { Array($0) }
  }
}

@Suite(.enabled(if: CPUBackend.hasInt8)) struct QuantizationTests {
  private static let models = Parity.pipelines + ["spark"]

  /// Mean squares of differences on a picture that was not watched, in dB below white.
  private func psnr(_ a: [UInt8], _ b: [UInt8]) -> Double {
    let squares = zip(a, b).reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
    return 10 * log10(65025 * Double(a.count) / max(squares, 1e-9))
  }

  @Test(arguments: models) func whatIsLostIsBounded(name: String) throws {
    let quantized = try QuantizedModel(name)
    let source = try QuantizedModel.open(name)
    func paint(_ model: ModelFolder, _ backend: any Backend, steps: Int = 1) throws -> [UInt8] {
      try QuantizedModel.picture(
        5, Pipeline(model: model, options: QuantizedModel.options(model, steps: steps), backend: backend))
    }
    for steps in [1, 3] {
      let before = try paint(source, CPUBackend(), steps: steps)
      let after = try paint(quantized.model, CPUBackend(), steps: steps)
      #expect(after != before, "nothing was rounded")
      #expect(psnr(after, before) > 35, "\(steps) steps")
    }
  }

  /// Every weight is within half a step of what it was.
  @Test func weightsAreRoundedToTheNearestStep() throws {
    let (before, after) = (
      try QuantizedModel.open("sdxl-tiny").weights, try QuantizedModel("sdxl-tiny").model.weights
    )
    let unet = try #require(after["unet"])
    var rounded = 0
    for name in unet.names where unet[name]?.dtype == "I8" {
      rounded += 1
      let layer = String(name.dropLast(".weight".count))
      let bytes = try floats(name, after)
      let steps = try floats(layer + ".weight_scale", after)
      let inputs = try floats(inputScale(layer, unet), after)
      let exact = try floats(name, before)
      let shape = try #require(unet[name]).shape
      #expect(before["unet"]?[name]?.shape == shape)
      let (channels, taps) = (shape[1], shape.dropFirst(2).reduce(1, *))
      let isNear = bytes.indices.allSatisfy { index in
        let step = steps[index / (channels * taps)] / inputs[index / taps % channels]
        return abs(bytes[index]) <= 127 && abs(bytes[index] * step - exact[index]) <= 0.5001 * step
      }
      #expect(isNear, "\(name)")
    }
    #expect(rounded > 20)
    // Queries, keys and values of self-attention read the same, in the same steps.
    #expect(unet.names.contains { $0.hasSuffix("attn1.input_scale") })
    #expect(unet.names.contains { $0.hasSuffix("attn2.to_q.input_scale") })
  }

  /// What the prompt alone decides, what is seen at once, and what is cheaper in phases.
  @Test func theRestIsAsItWas() throws {
    let (before, after) = (
      try QuantizedModel.open("sdxl-tiny").weights, try QuantizedModel("sdxl-tiny").model.weights
    )
    let names = try #require(after["unet"]).names
    for part in [
      "attn2.to_k.weight", "time_emb_proj.weight", "conv_in.weight", "conv_out.weight",
      "upsamplers.0.conv.weight",
    ] {
      let kept = names.filter { $0.hasSuffix(part) }
      #expect(!kept.isEmpty, "\(part)")
      for name in kept { #expect(try floats(name, after) == floats(name, before), "\(name)") }
    }
  }

  private func floats(_ name: String, _ weights: ModelWeights) throws -> [Float] {
    let type = try #require(weights.type(of: "unet/" + name), "no tensor \(name)")
    return try weights.withBytes(of: "unet/" + name) { ElementCodec.decode($0, type.element) }
  }
  private func inputScale(_ layer: String, _ unet: Checkpoint) -> String {
    let own = layer + ".input_scale"
    return unet[own] != nil
      ? own : layer.split(separator: ".").dropLast().joined(separator: ".") + ".input_scale"
  }

  /// Filters of denormal numbers, in steps that are none.
  @Test func filtersOfAlmostNothingBecomeZero() throws {
    let (folder, file) = (try TemporaryFolder(), "unet/diffusion_pytorch_model.safetensors")
    let layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    try folder.link(Parity.root + "/sd-tiny")
    let source = try SafetensorsFile(path: folder.path + "/" + file)
    let columns = try #require(source[layer + ".weight"]).shape[1]
    let tensors = try source.tensors.map { record in
      var bytes = try source.withBytes(of: record) { Array($0) }
      if record.name == layer + ".weight" {
        for filter in 0..<8 {
          let tiny = [Float(bitPattern: 1 << UInt32(2 * filter))] + Array(repeating: 0, count: columns - 1)
          let place = 4 * columns * filter
          bytes.replaceSubrange(place..<place + 4 * columns, with: ElementCodec.encode(tiny, .f32))
        }
      }
      return TestTensor(name: record.name, dtype: record.dtype, shape: record.shape, bytes: bytes)
    }
    folder.remove(file)
    _ = try folder.write(tensors, to: file)
    let model = try QuantizedModel("denormal", ModelFolder(path: folder.path)).model
    #expect(model.weights["unet"]?[layer + ".weight"]?.dtype == "I8")
    #expect(try floats(layer + ".weight", model.weights).prefix(8 * columns).allSatisfy { $0 == 0 })
    #expect(try floats(layer + ".weight_scale", model.weights).prefix(8).allSatisfy { $0 == 1 })
  }

  /// Fused and as it is written, by two backends.
  @Test func theReferenceAgrees() throws {
    let model = try QuantizedModel("sd-tiny").model
    func paint(_ backend: any Backend) throws -> [UInt8] {
      try QuantizedModel.picture(
        5, Pipeline(model: model, options: QuantizedModel.options(model), backend: backend))
    }
    let expected = try paint(ReferenceBackend())
    #expect(psnr(try paint(CPUBackend(precision: .f32)), expected) > 45)
    #expect(psnr(try paint(CPUBackend(precision: .f32, fuses: false)), expected) > 45)
  }

  @Test func theFolderSaysHowItWasMade() throws {
    let quantized = try QuantizedModel("sdxl-tiny")
    let config = try Config(path: quantized.path + "/unet/config.json").object
    let record = try #require(config["quantization_config"]?.object)
    #expect(record["quant_method"]?.string == "turbocam_int8")
    #expect(record["made_from"]?.string == "sdxl-tiny")
    #expect(config["in_channels"]?.int == 4)
    #expect(quantized.model.isInt8)
    #expect(try !QuantizedModel.open("sdxl-tiny").isInt8)
  }

  /// Weights that are no number become zero, and their filter's others do not.
  @Test func whatIsNoNumberBecomesZero() throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity("sd-tiny").folder)
    let file = "unet/diffusion_pytorch_model.safetensors"
    var bytes = try readFile(try Parity("sd-tiny").folder + "/" + file)
    let weights = try QuantizedModel.open("sd-tiny").weights
    let unet = try #require(weights["unet"])
    let name = try #require(unet.names.filter { $0.hasSuffix("ff.net.2.weight") }.min())
    let record = try #require(unet[name])
    #expect(record.dtype == "F32")
    let header = Int(bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
    for byte in 4..<8 { bytes[8 + header + record.range.lowerBound + byte] = 0xff }
    try folder.replace(file, bytes)
    let model = try QuantizedModel("sd-tiny", ModelFolder(path: folder.path)).model
    let rounded = try floats(name, model.weights)
    #expect(rounded[1] == 0)
    let others = rounded.prefix(record.shape[1]).count { $0 != 0 }
    #expect(others > record.shape[1] / 2)
  }

  // MARK: Refusals

  @Test func aFolderThatIsThereIsLeftAlone() throws {
    let folder = try TemporaryFolder()
    let model = try QuantizedModel.open("sd-tiny")
    do {
      _ = try QuantizedFolder(model, path: folder.path)
      Issue.record("not refused")
    } catch let error as DiffusionError {
      #expect(error.description.contains("not there yet"))
    }
  }

  @Test func eightBitsAreNotRoundedAgain() throws {
    let model = try QuantizedModel("sd-tiny").model
    #expect(throws: DiffusionError.self) {
      _ = try Calibration(model: model, options: QuantizedModel.options(model), backend: CPUBackend())
    }
  }

  /// A backend without products of i8 says so, whatever the folder.
  @Test func whatCannotRunItSaysSo() throws {
    let model = try QuantizedModel("sd-tiny").model
    do {
      _ = try Pipeline(
        model: model, options: QuantizedModel.options(model), backend: PlainBackend())
      Issue.record("not refused")
    } catch let error as DiffusionError {
      #expect(error.kind == .unavailable)
      #expect(error.description.contains("eight bits") && error.description.contains("VNNI"))
    }
  }

  @Test(arguments: [
    ("to_out.0.weight_scale", "shape"), ("attn1.input_scale", "shape"), ("attn1.to_q.weight", "type"),
  ])
  func brokenScalesAreRefused(part: String, fact: String) throws {
    let quantized = try QuantizedModel("sd-tiny")
    let path = quantized.path + "/unet/diffusion_pytorch_model.safetensors"
    var bytes = try readFile(path)
    let count = Int(bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
    var header = String(decoding: bytes[8..<8 + count], as: UTF8.self)
    let place = try #require(header.firstRange(of: part))
    let end = try #require(header[place.upperBound...].firstIndex(of: "}"))
    var entry = String(header[place.lowerBound...end])
    if fact == "type" {
      entry = entry.replacing("I8", with: "U8")
    } else {
      let shape = try #require(entry.firstMatch(of: /"shape":\[(\d+)\]/))
      entry = entry.replacing(shape.0, with: "\"shape\":[1,\(shape.1)]")
    }
    header.replaceSubrange(place.lowerBound...end, with: entry)
    bytes =
      withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
      + bytes[(8 + count)...]
    let file = try #require(fopen(path, "wb"))
    #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    fclose(file)
    do {
      _ = try ModelFolder(path: quantized.path)
      Issue.record("not refused")
    } catch let error as DiffusionError {
      #expect(error.kind == .data && error.description.contains(part), "\(error)")
    }
  }
}

/// Compiles nothing: what a backend is like that knows no i8.
private final class PlainBackend: Backend {
  let description = "a plain backend"
  let preferredElement = ElementType.f32
  func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  { throw EngineError.unsupported("anything", backend: description) }
}
