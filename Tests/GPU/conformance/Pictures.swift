import CUDABackend
import Diffusion
import Engine
import GraphCases
import TestSupport

/// Whole pictures of small models against those that diffusers painted (Fixtures/make/parity.py).
enum Pictures {
  static func run(_ folders: [String]) throws -> Report {
    let backend = try CUDABackend.first()
    var report = Report()
    for folder in folders {
      let name = folder.split(separator: "/").last.map(String.init) ?? folder
      do {
        let (isFine, worst, error) = try run(folder, backend)
        report.isPassed = report.isPassed && isFine
        report.add(
          name,
          .object([
            "passed": .bool(isFine), "worst_level": .number(Double(worst)), "relative_error": .number(error),
          ]))
      } catch {
        report.isPassed = false
        report.add(name, .string("\(error)"))
      }
    }
    return report
  }

  /// Whether all are as they should be, the largest difference of any byte, and the largest relative one.
  private static func run(_ folder: String, _ backend: CUDABackend) throws -> (Bool, Float, Double) {
    let model = try ModelFolder(path: folder)
    let tensors = try SafetensorsFile(path: folder + "/outputs.safetensors")
    let cases = try Config(path: folder + "/outputs.json").object["cases"]?.array ?? []
    let pictures = cases.compactMap(\.object).filter { $0["module"]?.string == "picture" }
    guard !pictures.isEmpty else { throw CheckError("no pictures in \(folder)") }
    var result: (isFine: Bool, worst: Float, error: Double) = (true, 0, 0)
    for picture in pictures {
      let (found, expected) = try paint(picture, model, tensors, backend)
      let error = relativeError(found, expected)
      let worst = found.count == expected.count ? zip(found, expected).map { abs($0 - $1) }.max() ?? 255 : 255
      // Two levels, or for an autoencoder in bf16 what PyTorch in bf16 strays.
      let limit = picture["bf16_error"]?.object?["image"]?.double ?? 0
      let isFine = worst <= 2 || (model.hasWideAutoencoder && error <= 1.5 * limit)
      result = (result.isFine && isFine, max(result.worst, worst), max(result.error, error))
    }
    return result
  }

  private static func paint(
    _ picture: JSONObject, _ model: ModelFolder, _ tensors: SafetensorsFile, _ backend: CUDABackend
  ) throws -> (found: [Float], expected: [Float]) {
    let strength = picture["strength"]?.double
    let pipeline = try Pipeline(
      model: model,
      options: Pipeline.Options(
        width: picture["width"]?.int ?? 0, height: picture["height"]?.int ?? 0,
        steps: picture["evaluations"]?.int ?? 1, task: strength == nil ? .textToImage : .imageToImage),
      backend: backend)
    _ = try pipeline.apply(
      PipelineSettings(
        prompt: picture["prompt"]?.string ?? "", strength: strength ?? 1, seed: picture["seed"]?.int ?? 0))
    if let input = picture["inputs"]?.object?["image"]?.string {
      let pixels = try floats(tensors, input).map { UInt8($0) }
      try pipeline.withImage { $0.copyBytes(from: pixels) }
    }
    try pipeline.run()
    guard let output = picture["outputs"]?.object?["image"]?.string else {
      throw CheckError("a picture without an image")
    }
    let expected = try floats(tensors, output)
    return (try pipeline.withPicture { $0.map { Float($0) } }, expected)
  }
}

/// All of a tensor, in the file's order.
func floats(_ tensors: SafetensorsFile, _ name: String) throws -> [Float] {
  guard let record = tensors[name], let type = record.type else { throw CheckError("no tensor \(name)") }
  return try tensors.withBytes(of: record) { ElementCodec.decode($0, type.element) }
}
