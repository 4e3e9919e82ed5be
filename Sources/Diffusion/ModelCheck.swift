import Engine

/// Whether the components of a folder fit each other and their weights, before any work starts.
struct ModelCheck {
  private let model: ModelFolder

  init(_ model: ModelFolder) { self.model = model }

  func run() throws {
    try checkLatents()
    try checkText()
    try checkAddition()
    try checkWeights()
  }

  private func checkLatents() throws {
    let channels = model.autoencoder.latentChannels
    let unet = [model.unet.inChannels, model.unet.outChannels]
    guard unet == [channels, channels] else {
      throw refuse("unet", "in_channels and out_channels \(unet) do not match the autoencoder's \(channels)")
    }
    let factors = (model.autoencoder.encoderFactor, model.autoencoder.decoderFactor)
    guard factors.0 == factors.1 else {
      throw refuse(
        "vae", "upsampling_scaling_factor: the encoder scales by \(factors.0), the decoder by \(factors.1)")
    }
  }

  private func checkText() throws {
    let width = model.contextWidth
    if let other = model.unet.contextWidths.first(where: { $0 != width }) {
      throw refuse("unet", "cross_attention_dim \(other) does not match the text encoders' \(width)")
    }
    guard Set(model.textEncoders.map(\.tokenizer.length)).count == 1 else {
      throw refuse(
        "tokenizer_2", "model_max_length differs from that of the first tokenizer",
        file: "tokenizer_config.json")
    }
    for encoder in model.textEncoders {
      let special = [encoder.tokenizer.startToken, encoder.tokenizer.endToken, encoder.tokenizer.padToken]
      guard special.allSatisfy({ $0 < encoder.config.vocabularySize }) else {
        throw refuse(encoder.component, "vocab_size is smaller than the tokenizer's special tokens")
      }
    }
  }

  private func checkAddition() throws {
    guard model.isXL else {
      guard model.unet.addition == nil else {
        throw refuse("unet", "addition_embed_type text_time needs a StableDiffusionXL pipeline")
      }
      return
    }
    guard let addition = model.unet.addition else {
      throw refuse("unet", "addition_embed_type should be text_time for a StableDiffusionXL pipeline")
    }
    guard let pooled = model.pooledWidth else {
      throw refuse(nil, "text_encoder_2 should be a CLIPTextModelWithProjection", file: "model_index.json")
    }
    let numbers = model.wantsAestheticsScore ? 5 : 6
    let width = numbers * addition.timeWidth + pooled
    guard width == addition.inputWidth else {
      throw refuse(
        "unet",
        "projection_class_embeddings_input_dim is \(addition.inputWidth), but \(numbers) sizes and the pooled text make \(width)"
      )
    }
  }

  /// Writes the model's layers once into a graph that is thrown away.
  private func checkWeights() throws {
    let graph = Graph()
    let unet = try model.scope("unet", graph, .f32)
    _ = UNet2DConditionModel(unet, model.unet)
    try unet.check()
    let vae = try model.scope("vae", graph, .f32)
    _ = Autoencoder(vae, model.autoencoder)
    try vae.check()
    for encoder in model.textEncoders {
      let scope = try model.scope(encoder.component, graph, .f32)
      _ = CLIPTextModel(scope, encoder.config)
      try scope.check()
    }
  }

  /// `component` is the folder of `file`; nil for the model's own.
  private func refuse(_ component: String?, _ fact: String, file: String = "config.json") -> DiffusionError {
    let folder = component.map(model.path(of:)) ?? model.configuration
    return DiffusionError(
      .configuration, path: "\(folder)/\(file)", fact,
      remedy: "The parts of this folder do not belong together; download the whole model again.")
  }
}
