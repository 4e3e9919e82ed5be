import CPUBackend
import CUDABackend
import Diffusion
import Engine
import TestSupport
import Testing

/// Pictures of models that a LoRA changes, as diffusers paints them (Fixtures/make/lora.py).
struct LoRATests {
  static let models = ["sd-tiny", "sdxl-tiny"]
  private let parity: Parity

  init() throws { parity = try Parity("lora") }

  private func file(_ name: String) -> String { "\(parity.folder)/\(name).safetensors" }

  private func paint(_ name: String, _ loras: [LoRA.Choice], _ backend: any Backend) throws -> [Float] {
    let model = try ModelFolder(path: "\(Parity.root)/\(name)", loras: loras)
    return try parity.paint(try #require(parity.cases.first { $0.name == name }), model, backend)
  }

  private func expected(_ name: String, _ role: String = "image") throws -> [Float] {
    let picture = try #require(parity.cases.first { $0.name == name })
    return try parity.floats(try #require(picture.output(role)))
  }

  private func scale(_ name: String) throws -> Double {
    try #require(parity.cases.first { $0.name == name }?.json["scale"]?.double)
  }

  private func worst(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).map { abs($0 - $1) }.max() ?? 255 }

  @Test(arguments: models) func picturesAreThoseOfDiffusers(name: String) throws {
    let backend = try CPUBackend(precision: .f32, threads: 1)
    let choice = LoRA.Choice(path: file(name), scale: try scale(name))
    #expect(worst(try paint(name, [choice], backend), try expected(name)) <= 2)
    #expect(worst(try paint(name, [], backend), try expected(name, "plain")) <= 2)
    #expect(worst(try expected(name), try expected(name, "plain")) > 20, "it hardly changes anything")
  }

  @Test(.enabled(if: Simulator.isReady), arguments: models)
  func picturesAreThoseOfDiffusersOnAGPU(name: String) throws {
    let choice = LoRA.Choice(path: file(name), scale: try scale(name))
    let found = try paint(name, [choice], try CUDABackend(element: .f32))
    #expect(worst(found, try expected(name)) <= 2)
  }

  /// Scales of several files add up, those of one file with the opposite sign to nothing.
  @Test func severalFilesAddUp() throws {
    let name = "sd-tiny"
    let backend = try CPUBackend(precision: .f32, threads: 1)
    let whole = try scale(name)
    let halves = [0.25, 0.75].map { LoRA.Choice(path: file(name), scale: whole * $0) }
    #expect(worst(try paint(name, halves, backend), try expected(name)) <= 2)
    let opposite = [1, -1].map { LoRA.Choice(path: file(name), scale: $0) }
    #expect(worst(try paint(name, opposite, backend), try expected(name, "plain")) <= 2)
  }

  /// What the file has in 16 bits takes no more memory with a LoRA, on processors that compute in f32.
  @Test(.enabled(if: CPUBackend.keepsHalves)) func weightsStayAsSmall() throws {
    func weights(_ loras: [LoRA.Choice]) throws -> Int {
      let model = try ModelFolder(path: "\(Parity.root)/sdxl-tiny", loras: loras)
      let backend = try CPUBackend(precision: .f32, threads: 1)
      return try Pipeline(model: model, options: Pipeline.Options(width: 64, height: 64), backend: backend)
        .memory.weights
    }
    let plain = try weights([])
    let changed = try weights([LoRA.Choice(path: file("sdxl-tiny"))])
    #expect(changed <= plain + plain / 50, "\(changed) of \(plain)")
  }

  /// Layers of text encoders under the names that most files have for them.
  @Test func layersOfTextEncodersHaveLongNamesToo() throws {
    let folder = try TemporaryFolder()
    let tensors = try TestTensor.all(of: file("sdxl-tiny")).map { tensor in
      var tensor = tensor
      tensor.name = tensor.name.replacing("lora_te1_encoder", with: "lora_te1_text_model_encoder")
      return tensor
    }
    #expect(tensors.contains { $0.name.hasPrefix("lora_te1_text_model_encoder") })
    let choice = LoRA.Choice(path: try folder.write(tensors), scale: try scale("sdxl-tiny"))
    let backend = try CPUBackend(precision: .f32, threads: 1)
    #expect(worst(try paint("sdxl-tiny", [choice], backend), try expected("sdxl-tiny")) <= 2)
  }

  /// Alphas have any type that a number can be stored in.
  @Test(arguments: ["I64", "F64"]) func alphasAreNumbersOfAnyType(type: String) throws {
    let folder = try TemporaryFolder()
    let tensors = try TestTensor.all(of: file("sdxl-tiny")).map { tensor in
      var tensor = tensor
      if tensor.name.hasSuffix(".alpha") {
        let alpha = Double(tensor.bytes.withUnsafeBytes { ElementCodec.decode($0, .f16) }[0])
        let bits = type == "I64" ? UInt64(alpha) : alpha.bitPattern
        (tensor.dtype, tensor.bytes) = (type, withUnsafeBytes(of: bits.littleEndian) { Array($0) })
      }
      return tensor
    }
    let choice = LoRA.Choice(path: try folder.write(tensors), scale: try scale("sdxl-tiny"))
    let backend = try CPUBackend(precision: .f32, threads: 1)
    #expect(worst(try paint("sdxl-tiny", [choice], backend), try expected("sdxl-tiny")) <= 2)
  }

  /// PEFT's `use_rslora`: alpha over the root of the rank, which is 3 here.
  @Test func theRootOfTheRankIsHeeded() throws {
    let folder = try TemporaryFolder()
    let (plain, root) = (Array(#"use_rslora\": false"#.utf8), Array(#"use_rslora\":  true"#.utf8))
    let bytes = try readFile(file("sd-tiny"))
    #expect(bytes.ranges(of: plain).count == 2)
    let path = try folder.write("root.safetensors", bytes.replacing(plain, with: root))
    let choice = LoRA.Choice(path: path, scale: try scale("sd-tiny") / 3.0.squareRoot())
    let backend = try CPUBackend(precision: .f32, threads: 1)
    #expect(worst(try paint("sd-tiny", [choice], backend), try expected("sd-tiny")) <= 2)
  }

  // MARK: Names

  @Test func everyTrainersNamesAreRead() {
    func read(_ name: String) -> String? {
      LoRAName(name).map { "\($0.component) \($0.layer) \($0.role)" }
    }
    #expect(
      read("unet.mid_block.attentions.0.proj_in.lora_A.weight") == "unet mid_block_attentions_0_proj_in down")
    #expect(
      read("text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_B.weight")
        == "text_encoder_2 text_model_encoder_layers_0_mlp_fc1 up")
    #expect(
      read("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha")
        == "text_encoder_2 text_model_encoder_layers_0_mlp_fc1 alpha")
    #expect(
      read("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight")
        == "text_encoder text_model_encoder_layers_0_mlp_fc1 up")
    #expect(
      read("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight")
        == "unet up_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out down")
    #expect(
      read("mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_q_lora.up.weight")
        == "unet mid_block_attentions_0_transformer_blocks_0_attn2_to_q up")
    #expect(
      read("text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer.down.weight")
        == "text_encoder text_model_encoder_layers_1_self_attn_q_proj down")
    for name in ["lora_unet_x.hada_w1_a", "unet.x.lokr_w1", "x.dora_scale", "conv_in.weight", ""] {
      #expect(read(name) == nil, "\(name)")
    }
  }

  /// Places in SDXL's UNet as its first release numbers them: three blocks of two, the first without attention.
  @Test func layersHaveTheirOriginalNames() throws {
    let model = try ModelFolder(path: "\(Parity.root)/sdxl-tiny")
    let layers = try #require(model.weights["unet"]).names.filter { $0.hasSuffix(".weight") }.map {
      String($0.dropLast(7))
    }
    let names = OriginalNames(layers)
    let known = [
      "conv_in": "input_blocks.0.0", "down_blocks.0.resnets.1.conv1": "input_blocks.2.0.in_layers.2",
      "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
      "down_blocks.1.attentions.0.proj_in": "input_blocks.4.1.proj_in",
      "down_blocks.1.resnets.0.conv_shortcut": "input_blocks.4.0.skip_connection",
      "down_blocks.2.attentions.1.transformer_blocks.2.attn2.to_k":
        "input_blocks.8.1.transformer_blocks.2.attn2.to_k",
      "mid_block.resnets.1.time_emb_proj": "middle_block.2.emb_layers.1",
      "mid_block.attentions.0.proj_out": "middle_block.1.proj_out",
      "up_blocks.0.resnets.2.conv2": "output_blocks.2.0.out_layers.3",
      "up_blocks.0.upsamplers.0.conv": "output_blocks.2.2.conv",
      "up_blocks.1.attentions.2.proj_in": "output_blocks.5.1.proj_in",
      "up_blocks.2.resnets.0.conv1": "output_blocks.6.0.in_layers.2", "conv_out": "out.2",
      "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
    ]
    for (layer, name) in known {
      #expect(layers.contains(layer), "\(layer)")
      #expect(names[layer] == name)
    }
    for number in ["\(Int.min)", "-1", "\(Int.max)", "x"] {
      #expect(names["mid_block.resnets.\(number).conv1"] == nil)
      #expect(names["down_blocks.0.resnets.\(number).conv1"] == nil)
      #expect(names["up_blocks.\(number).resnets.0.conv1"] == nil)
    }
    // Every layer that has weights, each once.
    let all = layers.map { ($0, names[$0]) }
    #expect(all.filter { $0.1 == nil }.isEmpty, "\(all.filter { $0.1 == nil })")
    #expect(Set(all.map(\.1)).count == all.count)
  }

  /// Files with blocks under both names hold two LoRAs; diffusers leaves those of the first release.
  @Test func ofTwoNamesDiffusersCounts() throws {
    let folder = try TemporaryFolder()
    let others = ["down", "up"].map {
      TestTensor.ones("lora_unet_middle_block_1_proj_in.lora_\($0).weight", [24, 24])
    }
    // As diffusers has it in the file's metadata.
    let alphas = #"{"lora_adapter_metadata": "{\"unet.lora_alpha\": 2, \"text_encoder.lora_alpha\": 2}"}"#
    let path = try folder.write(try TestTensor.all(of: file("sd-tiny")) + others, metadata: alphas)
    let choice = LoRA.Choice(path: path, scale: try scale("sd-tiny"))
    let backend = try CPUBackend(precision: .f32, threads: 1)
    #expect(worst(try paint("sd-tiny", [choice], backend), try expected("sd-tiny")) <= 2)
  }

  // MARK: Files that do not fit

  private func refusal(_ tensors: [(String, [Int])], metadata: String = "{}") throws -> String {
    let folder = try TemporaryFolder()
    let path = try folder.write(tensors.map { TestTensor.ones($0.0, $0.1) }, metadata: metadata)
    let error = try #require(throws: DiffusionError.self) {
      _ = try ModelFolder(path: Parity.root + "/sd-tiny", loras: [LoRA.Choice(path: path)])
    }
    return "\(error)"
  }

  /// Two layers whose names, types and shapes are changed at random: refused, or a graph comes of it.
  @Test func damagedFilesNeverCrash() throws {
    let names = [
      "lora_unet_conv_in", "lora_te_text_model_encoder_layers_0_mlp_fc1", "unet.conv_in", ".", "lora_unet_",
    ]
    let endings = [".lora_down.weight", ".lora_up.weight", ".alpha", ".lora_A.weight", ".weight", ""]
    let sizes = [0, 1, 2, 3, 4, 12, 24, 32, 1 << 31, 1 << 52]
    let good: [(String, [Int])] = [
      (names[0] + endings[0], [2, 4, 3, 3]), (names[0] + endings[1], [12, 2, 1, 1]),
      (names[0] + ".alpha", []),
    ]
    var random = SplitMix(seed: 9)
    var taken = 0
    for _ in 0..<150 {
      let folder = try TemporaryFolder()
      var tensors = good
      for _ in 0...Int.random(in: 0..<2, using: &random) {
        let index = tensors.indices.randomElement(using: &random)!
        switch Int.random(in: 0..<4, using: &random) {
        case 0:
          tensors[index].0 = names.randomElement(using: &random)! + endings.randomElement(using: &random)!
        case 1: tensors.remove(at: index)
        case 2:
          tensors[index].1 = [sizes.randomElement(using: &random)!, 0, sizes.randomElement(using: &random)!]
        default:
          guard let place = tensors[index].1.indices.randomElement(using: &random) else { break }
          tensors[index].1[place] = sizes.prefix(8).randomElement(using: &random)!
        }
        if tensors.isEmpty { break }
      }
      var seen: Set<String> = []
      let path = try folder.write(
        tensors.filter { seen.insert($0.0).inserted }.map { TestTensor.ones($0.0, $0.1) })
      do {
        let model = try ModelFolder(path: Parity.root + "/sd-tiny", loras: [LoRA.Choice(path: path)])
        let options = Pipeline.Options(width: 64, height: 64)
        #expect(throws: GraphTaker.Taken.self) {
          try Pipeline(model: model, options: options, backend: GraphTaker(.bf16, wide: .f32))
        }
        taken += 1
      } catch let error as DiffusionError { #expect(!error.description.isEmpty) }
    }
    #expect(taken > 5)
  }

  /// A configuration that asks for other shapes than those of the file, which the LoRA fits.
  @Test func aModelThatDoesNotFitItselfIsRefused() throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/sd-tiny")
    try folder.set("unet/config.json", "block_out_channels", "[24, 24, 24, 24]")
    let error = try #require(throws: DiffusionError.self) {
      _ = try ModelFolder(path: folder.path, loras: [LoRA.Choice(path: file("sd-tiny"))])
    }
    #expect("\(error)".contains("the configuration asks for [24, "), "\(error)")
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let (down, up) = ("lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.lora_up.weight")
    let good = [(down, [2, 4, 3, 3]), (up, [12, 2, 1, 1])]
    #expect(try refusal([(down, [2, 4, 3, 3])]).contains("lacks one of two factors for unet/conv_in.weight"))
    #expect(try refusal([good[0], (up, [12, 3, 1, 1])]).contains("shapes [2, 4, 3, 3] and [12, 3, 1, 1]"))
    #expect(try refusal([(down, [0, 4, 3, 3]), (up, [12, 0, 1, 1])]).contains("shapes"))
    #expect(try refusal([(down, [1 << 52, 0]), (up, [12, 0])]).contains("shapes"))
    #expect(try refusal([(down, [72]), (up, [24])]).contains("shapes"))
    #expect(try refusal(good + [("lora_te2_text_model_x.alpha", [])]).contains("lora_te2_text_model_x.alpha"))
    #expect(try refusal(good + [("lora_unet_conv_in.dora_scale", [12])]).contains("no part of a LoRA"))
    let again = ("unet.conv_in.lora_A.weight", [2, 4, 3, 3])
    #expect(try refusal(good + [again]).contains("changes unet/conv_in.weight twice"))
    #expect(try refusal([("base_model.model.conv_in.lora_A.weight", [2, 36])]).contains("by PEFT alone"))
    #expect(try refusal([]).contains("is empty"))
    let text = #"{"lora_adapter_metadata": "{\"unet.alpha_pattern\": {\"conv_in\": 2}}"}"#
    #expect(try refusal(good, metadata: text).contains("for some layers only"))
    #expect(
      try refusal(good + [("lora_unet_conv_in.alpha", [2])]).contains("shape [2], not one finite number"))
    let much = #"{"lora_adapter_metadata": "{\"unet.lora_alpha\": 1e39}"}"#
    #expect(try refusal(good, metadata: much).contains("gives the factor inf at the scale 1.0"))
    #expect(throws: DiffusionError.self) {
      _ = try ModelFolder(
        path: Parity.root + "/sd-tiny", loras: [LoRA.Choice(path: "/nowhere/a.safetensors")])
    }
    let other = LoRA.Choice(path: file("sdxl-tiny"))
    let error = try #require(throws: DiffusionError.self) {
      _ = try ModelFolder(path: Parity.root + "/sd-tiny", loras: [other])
    }
    #expect("\(error)".contains("another kind of model"))
  }
}
