import Base
import CPUBackend
import CUDABackend
import Diffusion
import Engine
import TestSupport
import Testing

/// Whole pictures as diffusers paints them for the same folder, prompt, seed, strength and steps.
struct PipelineTests {
  @Test(arguments: Parity.pipelines)
  func pictureIsThatOfDiffusers(name: String) throws {
    let backend = try CPUBackend(precision: .f32, threads: 1)
    try compare(name, backend) { _, worst, _ in worst <= 2 }
  }

  @Test func referenceGivesTheSamePicture() throws {
    try compare("sd-tiny", ReferenceBackend()) { _, worst, _ in worst <= 2 }
  }

  /// In bfloat16 pictures stray at most 1.5 times as far from those in float32 as PyTorch's do.
  @Test(.enabled(if: CPUBackend.runsBfloat16), arguments: Parity.pipelines)
  func bfloat16StraysNoFurtherThanPyTorch(name: String) throws {
    try compare(name, try CPUBackend(precision: .bf16, threads: 1)) { picture, _, error in
      let limit = picture.json["bf16_error"]?.object?["image"]?.double ?? 0
      return error <= 1.5 * limit
    }
  }

  /// On the simulated GPU, where everything runs that runs on a real one but the silicon.
  @Test(.enabled(if: Simulator.isReady), arguments: Parity.pipelines)
  func simulatedGPUGivesTheSamePicture(name: String) throws {
    // Pictures are rounded to 255 levels, which hides more than f16 does; an autoencoder that f16 cannot hold is in
    // bf16, with PyTorch's error of that.
    let isWide = try ModelFolder(path: Parity(name).folder).hasWideAutoencoder
    for element in [ElementType.f32, .f16] {
      try compare(name, try CUDABackend(element: element)) { picture, worst, error in
        let limit = picture.json["bf16_error"]?.object?["image"]?.double ?? 0
        return worst <= 2 || (isWide && element == .f16 && error <= 1.5 * limit)
      }
    }
  }

  private func compare(
    _ name: String, _ backend: any Backend, _ isFine: (Case, _ worst: Float, _ error: Double) -> Bool
  ) throws {
    let parity = try Parity(name)
    try compare(parity, try ModelFolder(path: parity.folder), backend, isFine)
  }

  private func compare(
    _ parity: Parity, _ model: ModelFolder, _ backend: any Backend,
    _ isFine: (Case, _ worst: Float, _ error: Double) -> Bool
  ) throws {
    let pictures = parity.cases("picture")
    #expect(!pictures.isEmpty)
    for picture in pictures {
      let expected = try parity.floats(try #require(picture.output("image")))
      let found = try parity.paint(picture, model, backend)
      let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 255
      let error = relativeError(found, expected)
      #expect(isFine(picture, worst, error), "\(picture.name): \(worst) of 255 at most, relative \(error)")
    }
  }

  // MARK: The embedded model

  static let precisions: [CPUBackend.Precision] = CPUBackend.runsBfloat16 ? [.f32, .bf16] : [.f32]

  /// In bfloat16 at most 1.5 times as far from the picture as PyTorch is in it, as above.
  @Test(arguments: precisions)
  func embeddedModelPaintsAsDiffusers(precision: CPUBackend.Precision) throws {
    let (parity, model) = (try Parity("spark"), try ModelFolder.find("spark"))
    try compare(parity, model, try CPUBackend(precision: precision)) { picture, worst, error in
      let limit = picture.json["bf16_error"]?.object?["image"]?.double ?? 0
      return precision == .f32 ? worst <= 2 : error <= 1.5 * limit
    }
  }

  /// Where another was put there since, diffusers' picture has to be painted anew.
  @Test func embeddedModelIsTheOneThatDiffusersPaintedWith() throws {
    let files = try #require(try Parity("spark").index["files"]?.object).members
    #expect(files.count > 10)
    let folder = try ModelFolder.find("spark").path
    for file in files {
      var hash = FNV()
      hash.add(try readFile("\(folder)/\(file.name)"))
      let (found, known) = (hash.value, file.value.string.flatMap { UInt64($0, radix: 16) })
      #expect(found == known, "\(file.name) has changed: .venv/bin/python Fixtures/make/embedded.py")
    }
  }

  private func paintEmbedded(_ backend: any Backend) throws -> [UInt8] {
    let model = try ModelFolder.find("spark")
    let size = model.nativeWidth
    let pipeline = try Pipeline(
      model: model, options: Pipeline.Options(width: size, height: size, posterior: .mean), backend: backend)
    _ = try pipeline.apply(PipelineSettings(prompt: "an oil painting", strength: 0.5, seed: 1))
    try pipeline.withImage { bytes in
      for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index / 3 % size) }
    }
    try pipeline.run()
    return try pipeline.withPicture { Array($0) }
  }

  /// What `--sums f16` costs, beside what computing on another machine changes.
  @Test(.enabled(if: Simulator.isReady)) func halfSumsChangeNothingThatIsSeen() throws {
    let exact = try paintEmbedded(CUDABackend())
    let half = try paintEmbedded(CUDABackend(products: ProductFormat(sums: .f16)))
    let differences = zip(exact, half).map { abs(Float($0) - Float($1)) }
    #expect(differences.max() ?? 255 <= 2)
    #expect(differences.contains { $0 > 0 }, "it is another computation")
  }

  /// The second of the simulated GPUs is a Hopper.
  @Test(.enabled(if: Simulator.isReady)) func warpgroupsAndEightBitsPaintTheSame() throws {
    let exact = try paintEmbedded(CUDABackend())
    func largest(_ backend: CUDABackend) throws -> Float {
      let differences = zip(exact, try paintEmbedded(backend)).map { abs(Float($0) - Float($1)) }
      #expect(differences.contains { $0 > 0 }, "it is another computation")
      return differences.max() ?? 255
    }
    #expect(try largest(CUDABackend(ordinal: 1, tuning: .warpgroups(4))) <= 2)
    let eightBits = ProductFormat(linears: .f8)
    #expect(try largest(CUDABackend(ordinal: 1, products: eightBits, tuning: .off)) <= 16)
  }
}
