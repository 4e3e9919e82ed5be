import Engine

/// `vae/config.json` of diffusers' AutoencoderKL. Absent keys take diffusers' defaults.
struct AutoencoderKLConfig: Sendable {
  let inChannels, outChannels, latentChannels: Int
  let channels: [Int]
  let layers: Int
  /// `act_fn` is the residual blocks'; before the last convolutions diffusers has SiLU whatever it says.
  let resnet: ResnetBlock2D.Settings
  let midAttention, quantConv, postQuantConv: Bool

  init(_ config: Config) throws {
    inChannels = try config.int("in_channels", 3)
    outChannels = try config.int("out_channels", 3)
    latentChannels = try config.int("latent_channels", 4)
    channels = try config.ints("block_out_channels", [64])
    layers = try config.int("layers_per_block", 1, in: 1...32)
    resnet = ResnetBlock2D.Settings(
      groups: try config.int("norm_num_groups", 32), epsilon: 1e-6,
      activation: try config.activation("act_fn", "silu"), time: nil)
    midAttention = try config.bool("mid_block_add_attention", true)
    quantConv = try config.bool("use_quant_conv", true)
    postQuantConv = try config.bool("use_post_quant_conv", true)
    try check(config, "down_block_types", "DownEncoderBlock2D")
    try check(config, "up_block_types", "UpDecoderBlock2D")
    guard channels.count <= 8 else { throw config.invalid("block_out_channels", "has more than 8 levels") }
    for width in channels where width % resnet.groups != 0 {
      throw config.invalid(
        "norm_num_groups", "\(resnet.groups) does not divide the \(width) channels of a block")
    }
  }

  private func check(_ config: Config, _ key: String, _ name: String) throws {
    let names = try config.strings(key, [name])
    if let other = names.first(where: { $0 != name }) {
      throw config.unsupported(key, .string(other), known: [name])
    }
    guard names.count == channels.count else {
      throw config.invalid(key, "has \(names.count) entries, block_out_channels has \(channels.count)")
    }
  }
}

/// The variational autoencoder of latent diffusion (Rombach 2022), diffusers' `AutoencoderKL`.
struct AutoencoderKL {
  private let graph: Graph
  private let config: AutoencoderKLConfig
  private let encoderIn, encoderOut, decoderIn, decoderOut: Conv2d
  private let encoderNorm, decoderNorm: GroupNorm
  private let encoderMid, decoderMid: AutoencoderMidBlock
  private let down: [(resnets: [ResnetBlock2D], downsampler: Downsample2D?)]
  private let up: [(resnets: [ResnetBlock2D], upsampler: Upsample2D?)]
  private let quantConv, postQuantConv: Conv2d?

  init(_ scope: Scope, _ config: AutoencoderKLConfig) {
    graph = scope.graph
    self.config = config
    let (encoder, decoder) = (scope["encoder"], scope["decoder"])
    let (top, bottom) = (config.channels[0], config.channels[config.channels.count - 1])
    let latent = config.latentChannels
    func norm(_ scope: Scope, _ channels: Int) -> GroupNorm {
      GroupNorm(
        scope["conv_norm_out"], channels, groups: config.resnet.groups, epsilon: config.resnet.epsilon)
    }
    encoderIn = Conv2d(encoder["conv_in"], config.inChannels, top)
    down = Self.downBlocks(encoder, config)
    encoderMid = AutoencoderMidBlock(encoder["mid_block"], bottom, config)
    encoderNorm = norm(encoder, bottom)
    encoderOut = Conv2d(encoder["conv_out"], bottom, 2 * latent)
    quantConv = config.quantConv ? Conv2d(scope["quant_conv"], 2 * latent, 2 * latent, kernel: 1) : nil

    postQuantConv = config.postQuantConv ? Conv2d(scope["post_quant_conv"], latent, latent, kernel: 1) : nil
    decoderIn = Conv2d(decoder["conv_in"], latent, bottom)
    decoderMid = AutoencoderMidBlock(decoder["mid_block"], bottom, config)
    up = Self.upBlocks(decoder, config)
    decoderNorm = norm(decoder, top)
    decoderOut = Conv2d(decoder["conv_out"], top, config.outChannels)
  }

  private static func downBlocks(
    _ scope: Scope, _ config: AutoencoderKLConfig
  ) -> [(resnets: [ResnetBlock2D], downsampler: Downsample2D?)] {
    config.channels.enumerated().map { level, output in
      let place = scope["down_blocks", level]
      let input = config.channels[max(level - 1, 0)]
      let resnets = (0..<config.layers).map {
        ResnetBlock2D(place["resnets", $0], $0 == 0 ? input : output, output, config.resnet)
      }
      let isLast = level == config.channels.count - 1
      // One row and column of zeros, after the picture only.
      let padding = Padding(top: 0, left: 0, bottom: 1, right: 1)
      return (resnets, isLast ? nil : Downsample2D(place["downsamplers.0"], output, padding: padding))
    }
  }

  private static func upBlocks(
    _ scope: Scope, _ config: AutoencoderKLConfig
  ) -> [(resnets: [ResnetBlock2D], upsampler: Upsample2D?)] {
    let channels = Array(config.channels.reversed())
    return channels.enumerated().map { index, output in
      let place = scope["up_blocks", index]
      let input = channels[max(index - 1, 0)]
      let resnets = (0...config.layers).map {
        ResnetBlock2D(place["resnets", $0], $0 == 0 ? input : output, output, config.resnet)
      }
      let isLast = index == channels.count - 1
      return (resnets, isLast ? nil : Upsample2D(place["upsamplers.0"], output))
    }
  }

  /// `picture [H, W, 3]` in -1...1 → moments `[h, w, 2C]`: means, then logarithms of variances.
  func encode(_ picture: Value) -> Value {
    var x = encoderIn(picture)
    for block in down {
      for resnet in block.resnets { x = resnet(x) }
      if let downsampler = block.downsampler { x = downsampler(x) }
    }
    x = encoderOut(graph.activation(encoderNorm(encoderMid(x)), .silu))
    return quantConv.map { $0(x) } ?? x
  }

  /// latent `[h, w, C]` → picture `[H, W, 3]` about -1...1
  func decode(_ latent: Value) -> Value {
    var x = decoderMid(decoderIn(postQuantConv.map { $0(latent) } ?? latent))
    for block in up {
      for resnet in block.resnets { x = resnet(x) }
      if let upsampler = block.upsampler { x = upsampler(x) }
    }
    return decoderOut(graph.activation(decoderNorm(x), .silu))
  }
}

/// Residual block, attention of one head over all pixels, residual block (`UNetMidBlock2D`).
struct AutoencoderMidBlock {
  private let graph: Graph
  private let resnet0, resnet1: ResnetBlock2D
  private let attention: (norm: GroupNorm, layer: Attention)?

  init(_ scope: Scope, _ channels: Int, _ config: AutoencoderKLConfig) {
    graph = scope.graph
    resnet0 = ResnetBlock2D(scope["resnets.0"], channels, channels, config.resnet)
    let place = scope["attentions.0"]
    attention =
      config.midAttention
      ? (
        GroupNorm(
          place["group_norm"], channels, groups: config.resnet.groups, epsilon: config.resnet.epsilon),
        Attention(place, width: channels, context: channels, heads: 1, inner: channels, bias: true)
      ) : nil
    resnet1 = ResnetBlock2D(scope["resnets.1"], channels, channels, config.resnet)
  }

  /// `[H, W, C] → [H, W, C]`
  func callAsFunction(_ x: Value) -> Value { resnet1(attend(resnet0(x))) }

  private func attend(_ x: Value) -> Value {
    guard let attention else { return x }
    let shape = graph.shape(x)
    let tokens = graph.reshape(attention.norm(x), [shape[0] * shape[1], shape[2]])
    return graph.add(x, graph.reshape(attention.layer(tokens, context: tokens), shape))
  }
}
