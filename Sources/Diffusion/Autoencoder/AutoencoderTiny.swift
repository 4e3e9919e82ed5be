import Engine

/// `vae/config.json` of diffusers' AutoencoderTiny. Absent keys take diffusers' defaults.
struct AutoencoderTinyConfig: Sendable {
  let inChannels, outChannels, latentChannels: Int
  let encoderChannels, decoderChannels: [Int]
  let encoderBlocks, decoderBlocks: [Int]
  let activation: Activation
  let upsampling: Int

  init(_ config: Config) throws {
    inChannels = try config.int("in_channels", 3)
    outChannels = try config.int("out_channels", 3)
    latentChannels = try config.int("latent_channels", 4)
    encoderChannels = try config.ints("encoder_block_out_channels", [64, 64, 64, 64])
    decoderChannels = try config.ints("decoder_block_out_channels", [64, 64, 64, 64])
    encoderBlocks = try config.ints("num_encoder_blocks", [1, 3, 3, 3], least: 0)
    decoderBlocks = try config.ints("num_decoder_blocks", [3, 3, 3, 1], least: 0)
    activation = try config.activation("act_fn", "relu")
    upsampling = try config.int("upsampling_scaling_factor", 2, in: 1...8)
    try config.refuse("upsample_fn", except: ["nearest"])
    try Self.check(config, "encoder", encoderChannels, encoderBlocks)
    try Self.check(config, "decoder", decoderChannels, decoderBlocks)
  }

  private static func check(_ config: Config, _ part: String, _ channels: [Int], _ blocks: [Int]) throws {
    guard channels.count == blocks.count, channels.count <= 8, blocks.allSatisfy({ $0 <= 64 }) else {
      throw config.invalid("num_\(part)_blocks", "\(blocks) does not go with the channels \(channels)")
    }
    // As in diffusers, the layers between levels keep the number of channels.
    guard Set(channels).count == 1 else {
      throw config.invalid("\(part)_block_out_channels", "\(channels) should all be the same")
    }
  }
}

/// The small autoencoder of Bohan ("TAESD", https://github.com/madebyollin/taesd) as diffusers writes it.
/// Latents are not random here.
struct AutoencoderTiny {
  private let graph: Graph
  private let config: AutoencoderTinyConfig
  private let encoder: [Layer]
  private let decoder: [Layer]

  /// The checkpoint numbers its layers as one list, activations and up-sampling included.
  private enum Layer {
    case conv(Conv2d)
    case block(AutoencoderTinyBlock)
    case activation
    case upsample
  }

  init(_ scope: Scope, _ config: AutoencoderTinyConfig) {
    graph = scope.graph
    self.config = config
    encoder = Self.encoderLayers(scope["encoder"], config)
    decoder = Self.decoderLayers(scope["decoder"], config)
  }

  private static func encoderLayers(_ scope: Scope, _ config: AutoencoderTinyConfig) -> [Layer] {
    var layers: [Layer] = []
    for (level, (channels, blocks)) in zip(config.encoderChannels, config.encoderBlocks).enumerated() {
      let place = scope["layers", layers.count]
      layers.append(
        .conv(
          level == 0
            ? Conv2d(place, config.inChannels, channels)
            : Conv2d(place, channels, channels, stride: 2, bias: false)))
      for _ in 0..<blocks {
        layers.append(
          .block(AutoencoderTinyBlock(scope["layers", layers.count], channels, config.activation)))
      }
    }
    let last = config.encoderChannels[config.encoderChannels.count - 1]
    return layers + [.conv(Conv2d(scope["layers", layers.count], last, config.latentChannels))]
  }

  private static func decoderLayers(_ scope: Scope, _ config: AutoencoderTinyConfig) -> [Layer] {
    var layers: [Layer] = [
      .conv(Conv2d(scope["layers.0"], config.latentChannels, config.decoderChannels[0])), .activation,
    ]
    let levels = config.decoderChannels.count
    for (level, (channels, blocks)) in zip(config.decoderChannels, config.decoderBlocks).enumerated() {
      for _ in 0..<blocks {
        layers.append(
          .block(AutoencoderTinyBlock(scope["layers", layers.count], channels, config.activation)))
      }
      let isLast = level == levels - 1
      if !isLast { layers.append(.upsample) }
      let output = isLast ? config.outChannels : channels
      layers.append(.conv(Conv2d(scope["layers", layers.count], channels, output, bias: isLast)))
    }
    return layers
  }

  /// `picture [H, W, 3]` in -1...1 → latent `[h, w, C]`
  func encode(_ picture: Value) -> Value {
    // The layers were trained on 0...1.
    run(encoder, graph.affine(picture, scale: 0.5, offset: 0.5))
  }

  /// latent `[h, w, C]` → picture `[H, W, 3]` about -1...1, f32. `latent` is f32.
  func decode(_ latent: Value, element: ElementType) -> Value {
    let soft = graph.activation(graph.affine(latent, scale: 1 / 3, offset: 0), .tanh)
    let x = run(decoder, graph.affine(soft, scale: 3, offset: 0, element: element))
    return graph.affine(x, scale: 2, offset: -1, element: .f32)
  }

  private func run(_ layers: [Layer], _ x: Value) -> Value {
    layers.reduce(x) { x, layer in
      switch layer {
      case .conv(let conv): return conv(x)
      case .block(let block): return block(x)
      case .activation: return graph.activation(x, config.activation)
      case .upsample:
        let shape = graph.shape(x)
        return graph.upsampleNearest(
          x, height: shape[0] * config.upsampling, width: shape[1] * config.upsampling)
      }
    }
  }
}

/// Three convolutions and a residual sum, ReLU at the end whatever the activation between.
struct AutoencoderTinyBlock {
  private let graph: Graph
  private let activation: Activation
  private let convs: [Conv2d]

  init(_ scope: Scope, _ channels: Int, _ activation: Activation) {
    graph = scope.graph
    self.activation = activation
    convs = [0, 2, 4].map { Conv2d(scope["conv", $0], channels, channels) }
  }

  func callAsFunction(_ x: Value) -> Value {
    let h1 = graph.activation(convs[0](x), activation)
    let h2 = graph.activation(convs[1](h1), activation)
    return graph.activation(graph.add(convs[2](h2), x), .relu)
  }
}
