import Diffusion
import Engine
import Glibc
import TestSupport
import Testing

/// Folders with something wrong in them: refused by file and key, with the exit code for it.
struct ModelFolderTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    try folder.link(Parity.root + "/sdxl-tiny")
  }

  private func refusal() -> DiffusionError? {
    do {
      _ = try ModelFolder(path: folder.path)
      return nil
    } catch { return error as? DiffusionError }
  }

  /// Replaces text in a file of the copy.
  private func edit(_ name: String, _ old: String, _ new: String) throws {
    let text = String(decoding: try readFile(folder.file(name)), as: UTF8.self)
    let parts = text.split(separator: old, omittingEmptySubsequences: false)
    try #require(parts.count > 1, "\(name) has no \(old)")
    try folder.replace(name, Array(parts.joined(separator: new).utf8))
  }

  @Test func untouchedCopyIsAccepted() throws { #expect(refusal() == nil) }

  struct Fault: Sendable {
    let file, old, new: String
    let kind: DiffusionError.Kind
    let facts: [String]
  }

  static let faults: [Fault] = [
    Fault(
      file: "model_index.json", old: "\"_class_name\"", new: "\"class\"", kind: .configuration,
      facts: ["model_index.json", "_class_name"]),
    Fault(
      file: "model_index.json", old: "StableDiffusionXLPipeline", new: "FluxPipeline", kind: .unavailable,
      facts: ["FluxPipeline", "StableDiffusionXLPipeline"]),
    Fault(
      file: "model_index.json", old: "UNet2DConditionModel", new: "UNetMotionModel", kind: .unavailable,
      facts: ["UNetMotionModel", "unet"]),
    Fault(
      file: "model_index.json", old: "\"unet\"", new: "\"transformer\"", kind: .configuration, facts: ["unet"]
    ),
    Fault(file: "model_index.json", old: "{", new: "", kind: .data, facts: ["model_index.json", "JSON"]),
    Fault(
      file: "model_index.json", old: "EulerAncestralDiscreteScheduler", new: "DDIMScheduler",
      kind: .unavailable, facts: ["model_index.json", "scheduler", "DDIMScheduler"]),
    Fault(
      file: "scheduler/scheduler_config.json", old: "scaled_linear", new: "sigmoid", kind: .unavailable,
      facts: ["beta_schedule", "sigmoid"]),
    Fault(
      file: "scheduler/scheduler_config.json", old: "\"epsilon\"", new: "\"sample\"", kind: .unavailable,
      facts: ["prediction_type", "sample"]),
    Fault(
      file: "unet/config.json", old: "\"norm_num_groups\": ", new: "\"norm_num_groups\": 7, \"x\": ",
      kind: .configuration, facts: ["unet/config.json", "norm_num_groups", "7"]),
    Fault(
      file: "unet/config.json", old: "\"layers_per_block\": ", new: "\"layers_per_block\": 1, \"x\": ",
      kind: .data, facts: ["up_blocks.0.resnets.1", "has shape", "asks for"]),
    Fault(
      file: "unet/config.json", old: "\"in_channels\": 4", new: "\"in_channels\": 9", kind: .configuration,
      facts: ["in_channels", "9"]),
    Fault(
      file: "unet/config.json", old: "\"in_channels\": 4", new: "\"in_channels\": \"four\"",
      kind: .configuration, facts: ["in_channels", "four"]),
    Fault(
      file: "unet/config.json", old: "\"CrossAttnDownBlock2D\"", new: "\"AttnDownBlock2D\"",
      kind: .unavailable, facts: ["down_block_types", "AttnDownBlock2D"]),
    Fault(
      file: "unet/config.json", old: "\"cross_attention_dim\"", new: "\"other\"", kind: .configuration,
      facts: ["cross_attention_dim"]),
    Fault(
      file: "unet/config.json", old: "\"addition_embed_type\": \"text_time\"",
      new: "\"addition_embed_type\": \"image\"", kind: .unavailable, facts: ["addition_embed_type", "image"]),
    Fault(
      file: "unet/config.json", old: "\"projection_class_embeddings_input_dim\"", new: "\"other\"",
      kind: .configuration, facts: ["projection_class_embeddings_input_dim"]),
    Fault(
      file: "vae/config.json", old: "\"AutoencoderKL\"", new: "\"VQModel\"", kind: .unavailable,
      facts: ["vae/config.json", "VQModel"]),
    Fault(
      file: "vae/config.json", old: "\"_class_name\"", new: "\"class\"", kind: .configuration,
      facts: ["vae/config.json", "_class_name"]),
    Fault(
      file: "vae/config.json", old: "\"scaling_factor\": 0", new: "\"scaling_factor\": 0, \"x\": 0",
      kind: .configuration, facts: ["scaling_factor"]),
    Fault(
      file: "text_encoder/config.json", old: "\"num_attention_heads\": ",
      new: "\"num_attention_heads\": 7, \"x\": ", kind: .configuration, facts: ["num_attention_heads"]),
    Fault(
      file: "text_encoder/config.json", old: "\"intermediate_size\": ",
      new: "\"intermediate_size\": 8, \"x\": ", kind: .data, facts: ["mlp.fc1", "[8,"]),
    Fault(
      file: "tokenizer/merges.txt", old: "\nt h", new: "\nt h e", kind: .data, facts: ["merges.txt", "line"]),
    Fault(
      file: "tokenizer/vocab.json", old: "\"<|endoftext|>\"", new: "\"<end>\"", kind: .data,
      facts: ["vocab.json", "<|endoftext|>"]),
    Fault(
      file: "tokenizer/tokenizer_config.json", old: "77", new: "78", kind: .configuration,
      facts: ["model_max_length", "78"]),
  ]

  @Test(arguments: faults)
  func faultIsNamed(fault: Fault) throws {
    try edit(fault.file, fault.old, fault.new)
    let error = try #require(refusal(), "accepted \(fault.file) with \(fault.new)")
    #expect(error.kind == fault.kind, "\(error)")
    for fact in fault.facts { #expect(error.description.contains(fact), "\(error)") }
  }

  @Test(arguments: [
    "model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json",
    "text_encoder_2/config.json", "tokenizer/vocab.json", "tokenizer_2/merges.txt",
    "unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/model.fp16.safetensors",
  ])
  func missingFileIsNamed(name: String) throws {
    folder.remove(name)
    let error = try #require(refusal(), "accepted")
    #expect(error.kind == .noInput, "\(error)")
    let component = name.split(separator: "/")[0]
    #expect(error.description.contains(component), "\(error)")
  }

  @Test func truncatedWeightsAreRefused() throws {
    let name = "vae/diffusion_pytorch_model.fp16.safetensors"
    let bytes = try readFile(folder.file(name))
    try folder.replace(name, Array(bytes.dropLast(100)))
    let error = try #require(refusal())
    #expect(
      error.kind == .data && error.description.contains("truncated") && error.description.contains(name))
  }

  @Test func wrongTypeOfATensorIsRefused() throws {
    let name = "unet/diffusion_pytorch_model.fp16.safetensors"
    let bytes = try readFile(folder.file(name))
    let text = Array("\"F16\"".utf8)
    let index = try #require(bytes.indices.first { bytes[$0...].starts(with: text) })
    var changed = bytes
    changed.replaceSubrange(index..<index + text.count, with: Array("\"I16\"".utf8))
    try folder.replace(name, changed)
    let error = try #require(refusal())
    #expect(error.kind == .data && error.description.contains("I16"), "\(error)")
  }

  /// Autoencoders from before diffusers 0.17 name the projections of their attention otherwise.
  @Test func oldNamesOfAttentionAreKnown() throws {
    let name = "vae/diffusion_pytorch_model.fp16.safetensors"
    let bytes = try readFile(folder.file(name))
    let count = (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
    var header = String(decoding: bytes[8..<8 + count], as: UTF8.self)
    for (new, old) in [
      ("to_q.", "query."), ("to_k.", "key."), ("to_v.", "value."), ("to_out.0.", "proj_attn."),
    ] {
      let parts = header.split(separator: new)
      try #require(parts.count == 5, "two attentions with weight and bias")
      header = parts.joined(separator: old)
    }
    let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
    try folder.replace(name, length + Array(header.utf8) + bytes[(8 + count)...])
    #expect(refusal() == nil)
  }

  // MARK: Names

  @Test func unknownNameTellsTheCommand() {
    for (name, command) in [
      ("someone/some-model", "hf download someone/some-model \"*.json\" \"*.txt\" \"*/*.fp16.safetensors\""),
      ("nothing", "hf download stabilityai/sdxl-turbo \"*.json\""),
    ] {
      #expect { try ModelFolder.find(name) } throws: {
        ($0 as? DiffusionError)?.kind == .noInput && "\($0)".contains(command) && "\($0)".contains(name)
      }
    }
  }

  /// A checkpoint of one file is there, so nothing else may be said of it.
  @Test func aSingleFileIsNotSaidToBeMissing() throws {
    try folder.write("model.ckpt", "pickled")
    #expect { try ModelFolder.find(folder.path + "/model.ckpt") } throws: {
      let error = $0 as? DiffusionError
      return error?.fact.hasPrefix("is a file") == true && error?.remedy?.contains("from_single_file") == true
    }
    let file = folder.path + "/unet/diffusion_pytorch_model.fp16.safetensors"
    #expect { try ModelFolder.find(file) } throws: {
      ($0 as? DiffusionError)?.fact == "is one component of a model"
    }
  }

  // MARK: Classes

  /// As in diffusers: what model_index.json names is made of whatever file lies there.
  @Test func theIndexNamesTheSchedulersClass() throws {
    try edit(
      "scheduler/scheduler_config.json", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler")
    #expect(try ModelFolder(path: folder.path).scheduler.kind == .eulerAncestral)
    try edit("model_index.json", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler")
    #expect(try ModelFolder(path: folder.path).scheduler.kind == .euler)
    try edit("model_index.json", "EulerDiscreteScheduler", "PNDMScheduler")
    let error = try #require(refusal())
    #expect(error.path?.hasSuffix("model_index.json") == true && error.kind == .unavailable)
    #expect(error.remedy?.contains("EulerDiscreteScheduler") == true, "\(error)")
  }

  /// Numbers that Python writes and JSON does not have, under keys that nobody reads; not under those that are read.
  @Test func pythonsInfinitiesAreReadOver() throws {
    let file = "scheduler/scheduler_config.json"
    try folder.set(file, "lambda_min_clipped", "[-Infinity, Infinity, NaN]")
    #expect(refusal() == nil)
    try folder.set(file, "beta_start", "-Infinity")
    #expect(refusal()?.fact.contains("beta_start") == true)
    try folder.set(file, "beta_start", "0.00085")
    try folder.set("vae/config.json", "latents_mean", "[0, 0, NaN, 0]")
    #expect(refusal()?.fact.contains("latents_mean") == true)
  }

  // MARK: Another autoencoder

  /// By itself, or that of another pipeline, by path and by name; its class is its own.
  @Test func anotherAutoencoderTakesThePlace() throws {
    let other = Parity.root + "/sd-tiny"
    #expect(try ModelFolder(path: folder.path).autoencoder.className == "AutoencoderKL")
    for place in [other, other + "/vae"] {
      let model = try ModelFolder.find(folder.path, autoencoder: place)
      #expect(model.autoencoder.className == "AutoencoderTiny")
      #expect(model.weights["vae"]?.path.hasPrefix(other + "/vae/") == true)
    }
    let cache = try TemporaryFolder()
    for name in ["models--org--tiny", "models--org--tiny/refs", "models--org--tiny/snapshots"] {
      try cache.makeFolder(name)
    }
    try cache.write("models--org--tiny/refs/main", "0123abcd\n")
    try cache.makeFolder("models--org--tiny/snapshots/0123abcd")
    try cache.link(other + "/vae", "models--org--tiny/snapshots/0123abcd/")
    let environment = { $0 == "HUGGINGFACE_HUB_CACHE" ? cache.path : nil }
    let model = try ModelFolder.find(folder.path, autoencoder: "org/tiny", environment: environment)
    #expect(model.autoencoder.className == "AutoencoderTiny")
    #expect {
      try ModelFolder.find(folder.path, autoencoder: "org/other", environment: environment)
    } throws: {
      "\($0)".contains("no autoencoder org/other") && "\($0)".contains("hf download org/other config.json")
    }
  }

  /// One that does not fit is refused by the file that says so.
  @Test func anAutoencoderOfOtherLatentsIsRefused() throws {
    #expect { try ModelFolder.find(folder.path, autoencoder: "spark") } throws: {
      "\($0)".contains("no autoencoder spark")
    }
    let spark = Parity.root + "/../models/spark"
    #expect { try ModelFolder.find(folder.path, autoencoder: spark) } throws: {
      "\($0)".contains("do not match the autoencoder's 8")
    }
  }

  @Test(arguments: ["", "..", "../..", "a/../b", "/nonexistent", "a/b/c", "\u{0}", "models--x--y/..", "é/é"])
  func namesCannotLeaveTheirPlace(name: String) {
    #expect(throws: DiffusionError.self) { try ModelFolder.find(name) }
  }

  @Test func findsPathsAndEmbeddedModels() throws {
    #expect(try ModelFolder.find(folder.path).path == folder.path)
    let spark = try ModelFolder.find("spark")
    #expect(spark.name == "spark")
    #expect(spark.nativeWidth == 256 && spark.nativeHeight == 256)
  }

  // MARK: Sizes

  /// A pair is height and width, in latents of 8 pixels.
  @Test func sizesOfBothKindsAreRead() throws {
    for (value, width, height) in [
      ("24", 192, 192), ("[12, 20]", 160, 96), (nil, 1024, 1024), ("null", 1024, 1024),
    ] {
      try folder.set("unet/config.json", "sample_size", value)
      let model = try ModelFolder(path: folder.path)
      #expect((model.nativeWidth, model.nativeHeight) == (width, height), "\(value ?? "left out")")
    }
  }

  /// diffusers before 0.9 wrote 32 for models of 64, which its pipelines of Stable Diffusion know.
  @Test(arguments: [
    ("sd-tiny", "0.8.1", "32", 512), ("sd-tiny", "0.2.2.dev0", "8", 512), ("sd-tiny", "0.8.1", "96", 768),
    ("sd-tiny", "0.9.0.dev0", "32", 256), ("sd-tiny", "0.10.2", "32", 256), ("sd-tiny", "1.0.0", "32", 256),
    ("sd-tiny", "new", "32", 256), ("sd-tiny", "0.8.1", "[32, 32]", 256), ("sdxl-tiny", "0.8.1", "32", 256),
  ])
  func smallSizesOfOldFilesAreNotMeant(name: String, version: String, size: String, pixels: Int) throws {
    let old = try TemporaryFolder()
    try old.link(Parity.root + "/" + name)
    try old.set("unet/config.json", "_diffusers_version", "\"\(version)\"")
    try old.set("unet/config.json", "sample_size", size)
    #expect(try ModelFolder(path: old.path).nativeWidth == pixels, "\(version) \(size)")
  }

  // MARK: Requests

  @Test(arguments: [(63, 64, 1), (64, 0, 1), (64, -8, 1), (16384, 64, 1), (64, 64, 0), (64, 64, 51)])
  func impossibleRequestIsRefused(width: Int, height: Int, steps: Int) throws {
    let model = try ModelFolder(path: folder.path)
    let options = Pipeline.Options(width: width, height: height, steps: steps)
    #expect { try Pipeline(model: model, options: options, backend: ReferenceBackend()) } throws: {
      ($0 as? DiffusionError)?.kind == .usage
    }
  }

  @Test func settingsOutOfRangeAreRefused() throws {
    let model = try ModelFolder(path: folder.path)
    let pipeline = try Pipeline(
      model: model, options: Pipeline.Options(width: 16, height: 16), backend: ReferenceBackend())
    for strength in [0, -1, 1.01, .nan, .infinity] {
      #expect(throws: DiffusionError.self) {
        try pipeline.apply(PipelineSettings(prompt: "", strength: strength, seed: 0))
      }
    }
    #expect(throws: DiffusionError.self) { try pipeline.run() }
    let long = String(repeating: "lighthouse ", count: 100)
    let warnings = try pipeline.apply(PipelineSettings(prompt: long))
    #expect(warnings.count == 1 && warnings[0].contains("lighthouse"))
  }
}
