import Diffusion
import Engine
import Testing

/// Whole pictures as diffusers paints them for the same folder, prompt, seed, strength and steps.
struct PipelineTests {
  @Test(arguments: Parity.pipelines)
  func pictureIsThatOfDiffusers(name: String) throws {
    let parity = try Parity(name)
    let model = try ModelFolder(path: parity.folder)
    for picture in parity.cases("picture") {
      let expected = try parity.floats(try #require(picture.output("image")))
      let found = try paint(model, picture, parity)
      #expect(found.count == expected.count)
      let worst = zip(found, expected).map { abs(Float($0) - $1) }.max() ?? 255
      #expect(worst <= 2, "\(name) \(picture.name)")
    }
  }

  private func paint(_ model: ModelFolder, _ picture: Case, _ parity: Parity) throws -> [UInt8] {
    let strength = picture.json["strength"]?.double
    let options = Pipeline.Options(
      width: picture.int("width"), height: picture.int("height"), steps: picture.int("evaluations"),
      task: strength == nil ? .textToImage : .imageToImage)
    let pipeline = try Pipeline(model: model, options: options, backend: ReferenceBackend())
    let prompt = picture.json["prompt"]?.string ?? ""
    _ = try pipeline.apply(
      PipelineSettings(prompt: prompt, strength: strength ?? 1, seed: picture.int("seed")))
    if let input = picture.input("image") {
      let pixels = try parity.floats(input).map { UInt8($0) }
      try pipeline.withImage { $0.copyBytes(from: pixels) }
    }
    try pipeline.run()
    return try pipeline.withPicture { Array($0) }
  }
}
