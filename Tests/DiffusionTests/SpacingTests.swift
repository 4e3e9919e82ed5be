import CPUBackend
import Diffusion
import Engine
import TestSupport
import Testing

/// What the spacing of timesteps that a model's file names does, as `Fixtures/make/spacings.py` wrote it.
struct SpacingTests {
  @Test func picturesAreThoseOfDiffusers() throws {
    let parity = try Parity("spacings")
    let backend = try CPUBackend(precision: .f32, threads: 1)
    #expect(parity.cases("picture").count == 6)
    for picture in parity.cases("picture") {
      let folder = try folder(of: picture)
      defer { withExtendedLifetime(folder) {} }
      let found = try parity.paint(picture, ModelFolder(path: folder.path), backend)
      let expected = try parity.floats(try #require(picture.output("image")))
      #expect(found.count == expected.count)
      let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 255
      #expect(worst <= 2, "\(picture.name): \(worst) of 255")
    }
  }

  /// The folder that the case names, with its scheduler.
  private func folder(of picture: Case) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    let name = try #require(picture.json["model"]?.string)
    try folder.link(Parity.root + "/" + name)
    let kind = try #require(picture.json["class"]?.string)
    try folder.set("model_index.json", "scheduler", "[\"diffusers\", \"\(kind)\"]")
    for member in try #require(picture.json["scheduler"]?.object).members {
      try folder.set("scheduler/scheduler_config.json", member.name, member.value.text)
    }
    return folder
  }

  @Test(arguments: ["sdxl-tiny": 70, "sd-tiny": 1])
  func pipelinesOfStableDiffusionHaveAnOffsetOfOne(name: String, offset: Int) throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/" + name)
    try folder.set("scheduler/scheduler_config.json", "steps_offset", "70")
    #expect(try ModelFolder(path: folder.path).scheduler.stepsOffset == offset)
  }

  /// One step of "leading" begins at its end, as in diffusers, which nobody expects; in a video it does not.
  @Test func aLateStartIsTold() throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/sd-tiny")
    func warnings(
      _ steps: Int, _ strength: Double, _ task: Pipeline.Task = .imageToImage,
      _ timesteps: Timesteps = .diffusers
    ) throws -> [String] {
      let options = Pipeline.Options(
        width: 16, height: 16, steps: steps, task: task, timesteps: timesteps)
      let pipeline = try Pipeline(
        model: ModelFolder(path: folder.path), options: options, backend: ReferenceBackend())
      return try pipeline.apply(PipelineSettings(prompt: "", strength: strength))
    }
    for strength in [0.01, 0.3, 0.51, 0.99, 1] { #expect(try warnings(1, strength).isEmpty) }
    try folder.set("scheduler/scheduler_config.json", "timestep_spacing", "\"leading\"")
    let found = try warnings(1, 0.5)
    #expect(found.count == 1 && found[0].contains("one step begins at 1,"), "\(found)")
    #expect(found.first?.contains("means 500, and repaints little") == true, "\(found)")
    #expect(try warnings(1, 1, .textToImage).first?.contains("leaves noise") == true)
    #expect(try warnings(2, 0.5).isEmpty)
    #expect(try warnings(1, 0.5, .imageToImage, .even).isEmpty)
  }
}
