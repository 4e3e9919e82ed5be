import CPUBackend
import Diffusion
import Engine
import TestSupport
import Testing

/// Models whose weights are in one file under the names of the original code (Fixtures/make/single.py).
struct SingleFileTests {
  static let models = ["sdxl-tiny", "sd-tiny"]
  private static let sizes = Parity.root + "/../sizes"
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private static func file(_ name: String) -> String { "\(Parity.root)/single/\(name).safetensors" }

  /// The file with the folder's configurations; what it has no names for comes from the folder.
  private static func open(_ name: String, file: String? = nil) throws -> ModelFolder {
    let other = "\(Parity.root)/\(name)"
    return try ModelFolder(
      file: file ?? Self.file(name), configuration: other,
      autoencoder: name == "sd-tiny" ? other + "/vae" : nil)
  }

  private func numbers(_ model: ModelFolder, _ component: String, _ name: String) throws -> [Float] {
    let type = try #require(model.weights[component]?[name]?.type)
    return try model.weights.withBytes(of: "\(component)/\(name)") { ElementCodec.decode($0, type.element) }
  }

  // MARK: Weights

  @Test(arguments: models) func weightsAreThoseOfTheFolder(name: String) throws {
    let (single, whole) = (try Self.open(name), try ModelFolder(path: "\(Parity.root)/\(name)"))
    #expect(single.name == name)
    for component in ["unet", "vae", "text_encoder"] + (whole.isXL ? ["text_encoder_2"] : []) {
      let (found, expected) = (
        try #require(single.weights[component]), try #require(whole.weights[component])
      )
      let names = expected.names.filter {
        expected[$0]?.type?.element != .i32 && !$0.hasSuffix("position_ids")
      }
      #expect(found.names.sorted() == names.sorted(), "\(component)")
      for tensor in names {
        #expect(found[tensor]?.shape == expected[tensor]?.shape, "\(component)/\(tensor)")
        let (a, b) = (try numbers(single, component, tensor), try numbers(whole, component, tensor))
        // The file is of half precision, whatever the folder is.
        let isEqual = zip(a, b).allSatisfy { $0 == $1 || $0 == Float(Float16($1)) }
        #expect(isEqual && a.count == b.count, "\(component)/\(tensor)")
      }
    }
  }

  /// A tiny file with tensors renamed, and others beside them.
  private func changed(
    _ name: String, _ rename: (String) -> String = { $0 }, _ more: [TestTensor] = []
  ) throws -> String {
    var own = try TestTensor.all(of: Self.file(name))
    own.removeAll { tensor in more.contains { $0.name == tensor.name } }
    for index in own.indices { own[index].name = rename(own[index].name) }
    return try folder.write(own + more)
  }

  /// SD-Turbo's own file has SDXL's words for its one text encoder.
  @Test func aLonelyTextEncoderHasEitherName() throws {
    let path = try changed("sd-tiny") {
      $0.replacing("cond_stage_model.model.", with: "conditioner.embedders.0.model.")
    }
    let (found, expected) = (try Self.open("sd-tiny", file: path), try Self.open("sd-tiny"))
    let names = try #require(expected.weights["text_encoder"]).names.sorted()
    #expect(found.weights["text_encoder"]?.names.sorted() == names)
    for name in names {
      #expect(try numbers(found, "text_encoder", name) == numbers(expected, "text_encoder", name), "\(name)")
    }
  }

  /// The same in pieces as at once, as backends read them.
  @Test func piecesAreThoseOfTheWhole() throws {
    let model = try Self.open("sdxl-tiny")
    let name = "text_encoder_2/text_projection.weight"
    let whole = try model.weights.withBytes(of: name) { Array($0) }
    var pieces: [UInt8] = []
    try model.weights.withPieces(of: name) { place, bytes in
      #expect(place == pieces.count)
      pieces += bytes
    }
    #expect(pieces == whole)
  }

  @Test func picturesAreThoseOfTheFolder() throws {
    let parity = try Parity("lora")
    let picture = try #require(parity.cases.first { $0.name == "sdxl-tiny" })
    let backend = try CPUBackend(precision: .f32, threads: 1)
    let found = try parity.paint(picture, try Self.open("sdxl-tiny"), backend)
    #expect(found == (try parity.paint(picture, try ModelFolder(path: Parity.root + "/sdxl-tiny"), backend)))
    let expected = try parity.floats(try #require(picture.output("plain")))
    #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 2 })
  }

  @Test func aLoRAChangesIt() throws {
    let parity = try Parity("lora")
    let picture = try #require(parity.cases.first { $0.name == "sdxl-tiny" })
    let scale = try #require(picture.json["scale"]?.double)
    let model = try ModelFolder(
      file: Self.file("sdxl-tiny"), configuration: Parity.root + "/sdxl-tiny",
      loras: [LoRA.Choice(path: parity.folder + "/sdxl-tiny.safetensors", scale: scale)])
    let found = try parity.paint(picture, model, try CPUBackend(precision: .f32, threads: 1))
    let expected = try parity.floats(try #require(picture.output("image")))
    #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 2 })
  }

  // MARK: Files of full size

  /// Opened by path alone: headers of files as they are downloaded, and holes in place of numbers.
  @Test(arguments: [("sdxl-turbo", 6_937_675_756), ("sd-turbo", 2_605_097_322)])
  func checkpointsOfFullSizeAreFoundByPath(name: String, count: Int) throws {
    let head = try readFile("\(Parity.root)/single/\(name).header")
    try folder.write("big.safetensors", head, count: head.count + count)
    let model = try ModelFolder.find(folder.path + "/big.safetensors")
    #expect(model.name == "big")
    #expect(model.isXL == (name == "sdxl-turbo"))
    #expect(model.nativeWidth == 512)
    let tokens = model.textEncoders[0].tokenizer.encode("a photo of a cat").tokens
    #expect(tokens.prefix(7) == [49406, 320, 1125, 539, 320, 2368, 49407])
    let small = try ModelFolder.find(
      folder.path + "/big.safetensors", autoencoder: "\(Self.sizes)/\(model.isXL ? "taesdxl" : "taesd")")
    #expect(small.autoencoder.className == "AutoencoderTiny")
  }

  /// CLIP's own vocabulary, which comes with the program for such files.
  @Test func tokensAreThoseOfTransformers() throws {
    let text = try readFile(Self.sizes + "/clip/tokens.json")
    let known = try Config(path: "tokens.json", bytes: text).object
    let prompts = (known["prompts"]?.array ?? []).compactMap(\.string)
    #expect(prompts.count > 40)
    for (model, tokenizer) in [
      ("sdxl-turbo", "tokenizer"), ("sdxl-turbo", "tokenizer_2"), ("sd-turbo", "tokenizer"),
    ] {
      let own = try CLIPTokenizer(folder: "\(Self.sizes)/\(model)/\(tokenizer)", positions: 77)
      let rows = try #require(known["tokens"]?.object?["\(model)/\(tokenizer)"]?.array)
      #expect(rows.count == prompts.count)
      for (prompt, row) in zip(prompts, rows) {
        let expected = (row.array ?? []).compactMap(\.int).map(Int32.init)
        #expect(own.encode(prompt).tokens == expected, "\(model) \(tokenizer): \(prompt.debugDescription)")
      }
    }
  }

  // MARK: Quantizing

  /// A folder made of a single file is whole: it runs without the file.
  @Test(.enabled(if: CPUBackend.hasInt8)) func aFolderOfEightBitsIsWhole() throws {
    let model = try Self.open("sdxl-tiny")
    let quantized = try QuantizedModel(model.name, model)
    let made = quantized.model
    #expect(made.isInt8)
    for component in ["vae", "text_encoder", "text_encoder_2"] {
      let (found, expected) = (try #require(made.weights[component]), try #require(model.weights[component]))
      #expect(found.names.sorted() == expected.names.sorted())
      for name in found.names {
        #expect(try numbers(made, component, name) == numbers(model, component, name), "\(component)/\(name)")
      }
    }
  }

  // MARK: Marks

  /// The tiny file with empty tensors of these names beside its own.
  private func marked(_ marks: [String]) throws -> String {
    try changed("sdxl-tiny", { $0 }, marks.map { TestTensor.ones($0, [0]) })
  }

  /// Of Stable Diffusion 2 only the spread of a bias tells.
  @Test(arguments: [(0.05, false), (0.2, true)]) func aWideBiasMeansVelocity(spread: Float, isVelocity: Bool)
    throws
  {
    let name = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    var tensor = try #require(try TestTensor.all(of: Self.file("sd-tiny")).first { $0.name == name })
    let bias: [Float] = (0..<tensor.shape[0]).map { $0 % 2 == 0 ? 3 - spread : 3 + spread }
    (tensor.dtype, tensor.bytes) = ("F32", ElementCodec.encode(bias, .f32))
    let epsilon = try TemporaryFolder()
    try epsilon.link(Parity.root + "/sd-tiny")
    try epsilon.set("scheduler/scheduler_config.json", "prediction_type", "\"epsilon\"")
    let model = try ModelFolder(
      file: changed("sd-tiny", { $0 }, [tensor]), configuration: epsilon.path,
      autoencoder: epsilon.path + "/vae")
    #expect(model.scheduler.prediction == (isVelocity ? .velocity : .epsilon))
  }

  @Test func marksOfVelocityAreHeeded() throws {
    let plain = try Self.open("sdxl-tiny").scheduler
    #expect(plain.prediction == .epsilon)
    let velocity = try Self.open("sdxl-tiny", file: marked(["v_pred"])).scheduler
    #expect(velocity.prediction == .velocity && velocity.sigmas == plain.sigmas)
    let noise = try Self.open("sdxl-tiny", file: marked(["v_pred", "ztsnr"])).scheduler
    #expect(noise.prediction == .velocity && (noise.sigmas.last ?? 0) > 4000)
  }

  @Test(.enabled(if: CPUBackend.hasInt8)) func aFolderOfEightBitsKeepsTheMarks() throws {
    let model = try Self.open("sdxl-tiny", file: marked(["v_pred", "ztsnr"]))
    let made = try QuantizedModel(model.name, model).model
    #expect(made.scheduler.prediction == .velocity && made.scheduler.sigmas == model.scheduler.sigmas)
  }

  @Test(arguments: ["edm_mean", "edm_std", "edm_vpred.sigma_max"]) func otherNoiseIsRefused(mark: String)
    throws
  {
    let error = try #require(throws: DiffusionError.self) {
      try Self.open("sdxl-tiny", file: marked([mark]))
    }
    #expect(error.kind == .unavailable && error.fact.contains(mark))
  }

  // MARK: What cannot be run

  private func refusal(_ names: [String], shape: [Int] = [1]) throws -> String {
    let path = try folder.write(names.map { TestTensor.ones($0, shape) })
    return "\(try #require(throws: DiffusionError.self) { try ModelFolder.find(path) })"
  }

  @Test func otherFilesAreNamedForWhatTheyAre() throws {
    let unet = "model.diffusion_model.input_blocks.0.0.weight"
    let xl = ["conditioner.embedders.0.transformer.text_model.x", "conditioner.embedders.1.model.x"]
    #expect(try refusal([unet, "cond_stage_model.transformer.x"]).contains("of Stable Diffusion 1"))
    let addition = "model.diffusion_model.label_emb.0.0.weight"
    #expect(try refusal([unet, addition, "conditioner.embedders.0.model.x"]).contains("SDXL's refiner"))
    #expect(try refusal([unet, addition, "cond_stage_model.model.x"]).contains("takes more than a prompt"))
    #expect(try refusal([unet]).contains("lacks its text encoders"))
    #expect(try refusal([unet, xl[0]]).contains("lacks its text encoders"))
    #expect(try refusal(["lora_unet_conv_in.lora_down.weight"]).contains("--lora "))
    #expect(try refusal(["conv_in.weight", "down_blocks.0.x"]).contains("one component of a model"))
    #expect(try refusal(["double_blocks.0.x"]).contains("no model of a kind that is known"))
    #expect(try refusal([]).contains("no model of a kind that is known"))
    let inpainting = try refusal([unet] + xl, shape: [320, 9, 3, 3])
    #expect(
      inpainting.contains("in the shape [320, 9, 3, 3], not [320, 4, 3, 3] as SDXL has it"), "\(inpainting)")
    let emptied = try refusal([unet] + xl, shape: [320, 4, 3, 3])
    #expect(emptied.contains("has no tensor \"model.diffusion_model."), "\(emptied)")
  }

  @Test func aFileWithoutAutoencoderWantsOne() throws {
    let tensors = try TestTensor.all(of: Self.file("sdxl-tiny"))
    let path = try folder.write(tensors.filter { !$0.name.hasPrefix("first_stage_model.") })
    let refused = try #require(throws: DiffusionError.self) {
      try ModelFolder(file: path, configuration: Parity.root + "/sdxl-tiny")
    }
    #expect(refused.remedy?.contains("--vae") == true)
    let vae = Parity.root + "/sdxl-tiny/vae"
    #expect(throws: Never.self) {
      try ModelFolder(file: path, configuration: Parity.root + "/sdxl-tiny", autoencoder: vae)
    }
  }

  @Test func typesThatNobodyMultipliesAreRefused() throws {
    var head = try readFile("\(Parity.root)/single/sd-turbo.header")
    let name = Array("\"model.diffusion_model.input_blocks.0.0.weight\":{\"dtype\":\"".utf8)
    let place = try #require(head.firstRange(of: name)).upperBound
    head.replaceSubrange(place..<place + 3, with: Array("I16".utf8))
    try folder.write("big.safetensors", head, count: head.count + 2_605_097_322)
    let error = try #require(throws: DiffusionError.self) {
      try ModelFolder.find(folder.path + "/big.safetensors")
    }
    #expect(error.fact.contains("in the type I16"))
    #expect(error.kind == .unavailable)
  }

  /// Names, shapes and types changed at random: refused, or read as before.
  @Test func damagedHeadersNeverCrash() throws {
    let good = try readFile(Self.file("sdxl-tiny"))
    let length = Int(good.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) })
    var random = SplitMix(seed: 5)
    var refused = 0
    for _ in 0..<200 {
      var bytes = good
      for _ in 0...Int.random(in: 0..<3, using: &random) {
        let place = 8 + Int.random(in: 0..<length, using: &random)
        bytes[place] = Array("0123456789.,[]_abWF\"".utf8).randomElement(using: &random)!
      }
      try folder.write("damaged.safetensors", bytes)
      do {
        _ = try Self.open("sdxl-tiny", file: folder.path + "/damaged.safetensors")
      } catch let error as DiffusionError {
        #expect(!error.description.isEmpty)
        refused += 1
      }
    }
    #expect(refused > 100)
  }
}
