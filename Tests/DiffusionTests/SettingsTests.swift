import CPUBackend
import Diffusion
import Testing

/// Settings that change between the frames of a pipeline.
struct SettingsTests {
  /// A pipeline that has run is given only what differs, which must come to the picture of a new one. The second
  /// model has two text encoders and an autoencoder that draws noise; in two steps there is noise between them.
  @Test(arguments: ["sd-tiny", "sdxl-tiny"])
  func eachSettingByItselfActsAsInANewPipeline(name: String) throws {
    let model = try ModelFolder(path: Parity(name).folder)
    let backend = try CPUBackend(precision: .f32, threads: 1)
    func pipeline() throws -> Pipeline {
      try Pipeline(
        model: model, options: Pipeline.Options(width: 64, height: 64, steps: 2), backend: backend)
    }
    func paint(_ pipeline: Pipeline, _ settings: PipelineSettings) throws -> [UInt8] {
      _ = try pipeline.apply(settings)
      try pipeline.withImage { bytes in
        for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index * 7 / 5) }
      }
      try pipeline.run()
      return try pipeline.withPicture { Array($0) }
    }

    let first = PipelineSettings(prompt: "a photo of a cat", strength: 0.5, seed: 3)
    let changes: [(inout PipelineSettings) -> Void] = [
      { $0.prompt = "pixel art of a small castle, sixteen colours!" }, { $0.strength = 0.8 }, { $0.seed = 4 },
    ]
    let running = try pipeline()
    var settings = first
    var seen = [try paint(running, settings)]
    for change in changes {
      change(&settings)
      let picture = try paint(running, settings)
      let fresh = try paint(try pipeline(), settings)
      #expect(picture == fresh, "\(settings)")
      #expect(!seen.contains(picture), "\(settings) is as what was before")
      seen.append(picture)
    }
    // All of them at once, back to what was.
    let again = try paint(running, first)
    #expect(again == seen[0])
  }
}
