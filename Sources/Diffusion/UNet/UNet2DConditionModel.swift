import Engine

/// The denoiser of Stable Diffusion (Rombach 2022) and SDXL (Podell 2023), by its config alone.
public struct UNet2DConditionModel {
  /// Called with the name and value of every block's result, named as in diffusers (`down_blocks.0`).
  public typealias Tap = (String, Value) -> Void

  /// What SDXL adds to the time: `textEmbeds [1, P]` and `timeIDs [6]`, sizes in pixels.
  public struct Added {
    public let textEmbeds, timeIDs: Value
    public init(textEmbeds: Value, timeIDs: Value) {
      self.textEmbeds = textEmbeds
      self.timeIDs = timeIDs
    }
  }

  private let graph: Graph
  private let element: ElementType
  private let config: UNetConfig
  private let timeEmbedding: TimestepEmbedding
  private let addEmbedding: TimestepEmbedding?
  private let convIn, convOut: Conv2d
  private let downBlocks: [DownBlock]
  private let midBlock: MidBlock?
  private let upBlocks: [UpBlock]
  private let normOut: GroupNorm

  /// Takes its weights from `scope`; `scope.check()` tells whether they were all there.
  public init(_ scope: Scope, _ config: UNetConfig) {
    graph = scope.graph
    element = scope.element
    self.config = config
    let (top, time) = (config.channels[0], config.timeWidth)
    convIn = Conv2d(scope["conv_in"], config.inChannels, top, kernel: config.kernelIn)
    timeEmbedding = TimestepEmbedding(scope["time_embedding"], top, time, config.timeActivation)
    // Whatever `act_fn` says, as in diffusers.
    addEmbedding = config.addition.map {
      TimestepEmbedding(scope["add_embedding"], $0.inputWidth, time, .silu)
    }
    downBlocks = config.channels.indices.map { DownBlock(scope["down_blocks", $0], config, level: $0) }
    midBlock = config.midBlock.map { MidBlock(scope["mid_block"], config, $0) }
    upBlocks = config.channels.indices.map { UpBlock(scope["up_blocks", $0], config, index: $0) }
    normOut = GroupNorm(
      scope["conv_norm_out"], top, groups: config.resnet.groups, epsilon: config.resnet.epsilon)
    convOut = Conv2d(scope["conv_out"], top, config.outChannels, kernel: config.kernelOut)
  }

  /// - Parameters:
  ///   - sample: `[H, W, C]`, scaled as the schedule says.
  ///   - timestep: f32 `[1]`.
  ///   - context: `[S, D]`, the prompt.
  /// - Returns: `[H, W, C]`, the predicted noise or velocity.
  public func callAsFunction(
    _ sample: Value, timestep: Value, context: Value, added: Added? = nil, tap: Tap = { _, _ in }
  ) -> Value {
    let time = timeCondition(timestep, added, tap)
    let condition = UNetCondition(time: time, text: graph.cast(context, element))
    var x = graph.cast(sample, element)
    if config.centerInput { x = graph.affine(x, scale: 2, offset: -1) }
    x = convIn(x)
    tap("conv_in", x)

    var skips = [x]
    for (index, block) in downBlocks.enumerated() {
      let kept = block(x, condition)
      for (layer, value) in kept.enumerated() { tap("down_blocks.\(index).res.\(layer)", value) }
      skips += kept
      x = kept[kept.count - 1]
      tap("down_blocks.\(index)", x)
    }
    if let midBlock {
      x = midBlock(x, condition)
      tap("mid_block", x)
    }
    for (index, block) in upBlocks.enumerated() {
      let own = skips.suffix(block.skips)
      skips.removeLast(block.skips)
      // The level above may have an odd size, which doubling would miss.
      let size = skips.last.map { Array(graph.shape($0).prefix(2)) }
      x = block(x, skips: own, size: size, condition)
      tap("up_blocks.\(index)", x)
    }
    x = convOut(graph.activation(normOut(x), config.resnet.activation))
    tap("conv_out", x)
    return x
  }

  /// `[1, E]`. It depends on settings alone, so the frame never computes it.
  private func timeCondition(_ timestep: Value, _ added: Added?, _ tap: Tap) -> Value {
    let sinusoid = sinusoids(timestep, config.channels[0])
    tap("time_proj", sinusoid)
    let time = timeEmbedding(graph.cast(sinusoid, element))
    tap("time_embedding", time)
    guard let added, let addEmbedding, let addition = config.addition else {
      tap("emb", time)
      return time
    }
    let sizes = sinusoids(added.timeIDs, addition.timeWidth)
    let flat = graph.reshape(sizes, [1, graph.type(sizes).count])
    let joined = graph.concat([graph.cast(added.textEmbeds, element), graph.cast(flat, element)], axis: 1)
    let extra = addEmbedding(joined)
    tap("add_embedding", extra)
    let sum = graph.add(time, extra)
    tap("emb", sum)
    return sum
  }

  private func sinusoids(_ numbers: Value, _ dimension: Int) -> Value {
    graph.sinusoid(
      numbers, dimension: dimension, flipSinToCos: config.flipSinToCos, frequencyShift: config.frequencyShift)
  }
}
