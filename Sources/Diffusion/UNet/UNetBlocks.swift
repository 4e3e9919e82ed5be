import Engine

/// What every block of the UNet is given besides the picture.
struct UNetCondition {
  /// `[1, E]`: timestep, and for SDXL sizes and pooled text.
  let time: Value
  /// `[S, D]`: the prompt.
  let text: Value
}

/// A level on the way down: residual blocks, each followed by a transformer where the level has them, then
/// half the size except at the bottom (`DownBlock2D`, `CrossAttnDownBlock2D`).
struct DownBlock {
  private let resnets: [ResnetBlock2D]
  private let transformers: [Transformer2DModel]
  private let downsampler: Downsample2D?

  init(_ scope: Scope, _ config: UNetConfig, level: Int) {
    let output = config.channels[level]
    let input = level == 0 ? config.channels[0] : config.channels[level - 1]
    resnets = (0..<config.layers[level]).map {
      ResnetBlock2D(scope["resnets", $0], $0 == 0 ? input : output, output, config.resnet)
    }
    transformers =
      config.downBlocks[level] == .plain
      ? []
      : config.downTransformers[level].enumerated().map {
        Transformer2DModel(scope["attentions", $0], output, config.transformer(level: level, depth: $1))
      }
    let isLast = level == config.channels.count - 1
    // Without padding diffusers adds zeros after the picture only.
    let padding =
      config.downsamplePadding == 0
      ? Padding(top: 0, left: 0, bottom: 1, right: 1) : Padding(config.downsamplePadding)
    downsampler = isLast ? nil : Downsample2D(scope["downsamplers.0"], output, padding: padding)
  }

  /// The level's results in order; all are kept for the way up, the last goes on down.
  func callAsFunction(_ x: Value, _ condition: UNetCondition) -> [Value] {
    var (x, kept) = (x, [Value]())
    for (index, resnet) in resnets.enumerated() {
      x = resnet(x, time: condition.time)
      if !transformers.isEmpty { x = transformers[index](x, context: condition.text) }
      kept.append(x)
    }
    return downsampler.map { kept + [$0(x)] } ?? kept
  }
}

/// The bottom: a residual block, and with attention a transformer and another residual block
/// (`UNetMidBlock2DCrossAttn`; `UNetMidBlock2D` without layers).
struct MidBlock {
  private let first: ResnetBlock2D
  private let rest: (transformer: Transformer2DModel, resnet: ResnetBlock2D)?

  init(_ scope: Scope, _ config: UNetConfig, _ kind: UNetConfig.MidBlock) {
    let level = config.channels.count - 1
    let channels = config.channels[level]
    var settings = config.resnet
    settings.outputScale = config.midScale
    first = ResnetBlock2D(scope["resnets.0"], channels, channels, settings)
    guard kind == .crossAttention else {
      rest = nil
      return
    }
    var transformer = config.transformer(level: level, depth: config.midTransformers)
    transformer.onlyCrossAttention = false
    rest = (
      Transformer2DModel(scope["attentions.0"], channels, transformer),
      ResnetBlock2D(scope["resnets.1"], channels, channels, settings)
    )
  }

  func callAsFunction(_ x: Value, _ condition: UNetCondition) -> Value {
    let x = first(x, time: condition.time)
    guard let rest else { return x }
    return rest.resnet(rest.transformer(x, context: condition.text), time: condition.time)
  }
}

/// A level on the way up: each residual block takes the result of its counterpart on the way down beside the
/// picture (`UpBlock2D`, `CrossAttnUpBlock2D`).
struct UpBlock {
  private let graph: Graph
  private let resnets: [ResnetBlock2D]
  private let transformers: [Transformer2DModel]
  private let upsampler: Upsample2D?

  /// Number of skip connections that the block takes.
  var skips: Int { resnets.count }

  /// `index` counts up-blocks, from the bottom.
  init(_ scope: Scope, _ config: UNetConfig, index: Int) {
    graph = scope.graph
    let last = config.channels.count - 1
    let level = last - index
    let output = config.channels[level]
    let below = config.channels[min(level + 1, last)]
    let above = config.channels[max(level - 1, 0)]
    let count = config.layers[level] + 1
    resnets = (0..<count).map {
      let skip = $0 == count - 1 ? above : output
      return ResnetBlock2D(scope["resnets", $0], ($0 == 0 ? below : output) + skip, output, config.resnet)
    }
    transformers =
      config.upBlocks[index] == .plain
      ? []
      : config.upTransformers[index].enumerated().map {
        Transformer2DModel(scope["attentions", $0], output, config.transformer(level: level, depth: $1))
      }
    upsampler = level == 0 ? nil : Upsample2D(scope["upsamplers.0"], output)
  }

  /// `skips`, the last first used; `size` is the height and width that the level above has.
  func callAsFunction(_ x: Value, skips: ArraySlice<Value>, size: [Int]?, _ condition: UNetCondition) -> Value
  {
    var x = x
    for ((index, resnet), skip) in zip(resnets.enumerated(), skips.reversed()) {
      x = resnet(graph.concat([x, skip], axis: 2), time: condition.time)
      if !transformers.isEmpty { x = transformers[index](x, context: condition.text) }
    }
    return upsampler.map { $0(x, size: size) } ?? x
  }
}

extension UNetConfig {
  func transformer(level: Int, depth: Int) -> Transformer2DModel.Settings {
    Transformer2DModel.Settings(
      context: contextWidths[level], heads: heads[level], depth: depth, groups: resnet.groups,
      linearProjection: linearProjection, onlyCrossAttention: onlyCrossAttention[level])
  }
}
