import Engine

/// `unet/config.json` of diffusers' UNet2DConditionModel. Absent keys take diffusers' defaults; null is refused where
/// diffusers fails with it.
public struct UNetConfig: Sendable {
  enum DownBlock: String, CaseIterable { case plain = "DownBlock2D", crossAttention = "CrossAttnDownBlock2D" }
  enum UpBlock: String, CaseIterable { case plain = "UpBlock2D", crossAttention = "CrossAttnUpBlock2D" }
  enum MidBlock: String, CaseIterable {
    case plain = "UNetMidBlock2D", crossAttention = "UNetMidBlock2DCrossAttn"
  }

  /// SDXL's conditioning on sizes and pooled text (`addition_embed_type = text_time`).
  struct Addition: Sendable {
    /// Width of the sinusoids of one number (`addition_time_embed_dim`).
    var timeWidth: Int
    /// Width of all of them with the pooled text (`projection_class_embeddings_input_dim`).
    var inputWidth: Int
  }

  /// The latents' height and width that the model was made for.
  public let sampleSize: (height: Int, width: Int)?
  /// Whether that is one number, under which diffusers before 0.9 wrote a default that was not meant.
  let hasDoubtfulSize: Bool
  public let inChannels, outChannels: Int
  let centerInput: Bool
  let downBlocks: [DownBlock]
  let midBlock: MidBlock?
  let upBlocks: [UpBlock]
  /// Channels of each level, from the top.
  let channels: [Int]
  /// Residual blocks of each level on the way down; one more on the way up.
  let layers: [Int]
  /// Transformer blocks of each transformer on the way down, up and in the middle: [level][layer].
  let downTransformers, upTransformers: [[Int]]
  let midTransformers: Int
  let heads: [Int]
  /// Width of the text of each level.
  let contextWidths: [Int]
  let onlyCrossAttention: [Bool]
  let linearProjection: Bool
  let resnet: ResnetBlock2D.Settings
  let midScale: Float
  let flipSinToCos: Bool
  let frequencyShift: Float
  let timeWidth: Int
  let timeActivation: Activation
  let downsamplePadding: Int
  let kernelIn, kernelOut: Int
  let addition: Addition?

  public init(_ config: Config) throws {
    try config.refuseNull(Self.neverNull)
    try Self.refuseUnsupported(config)
    sampleSize = try Self.sampleSize(config)
    hasDoubtfulSize =
      config.value("sample_size")?.int != nil
      && Self.isBefore09(config.value("_diffusers_version")?.string)
    inChannels = try config.int("in_channels", 4)
    outChannels = try config.int("out_channels", 4)
    centerInput = try config.bool("center_input_sample", false)
    channels = try config.ints("block_out_channels", [320, 640, 1280, 1280])
    let levels = channels.count
    guard levels <= 10 else { throw config.invalid("block_out_channels", "has more than 10 levels") }
    downBlocks = try Self.blocks(
      config, "down_block_types", [.crossAttention, .crossAttention, .crossAttention, .plain], levels)
    upBlocks = try Self.blocks(
      config, "up_block_types", [.plain, .crossAttention, .crossAttention, .crossAttention], levels)
    midBlock = try Self.midBlock(config)
    layers = try config.ints("layers_per_block", 2, count: levels)
    guard layers.allSatisfy({ $0 <= 32 }) else {
      throw config.invalid("layers_per_block", "\(layers) is too many")
    }
    let depths = try Self.depths(config, layers)
    (downTransformers, upTransformers, midTransformers) = (depths.down, depths.up, depths.mid)
    heads = try Self.heads(config, levels)
    contextWidths = try config.ints("cross_attention_dim", 1280, count: levels)
    onlyCrossAttention = try Self.flags(config, "only_cross_attention", levels)
    linearProjection = try config.bool("use_linear_projection", false)
    timeWidth = try config.int("time_embedding_dim", channels[0] * 4)
    let activation = try config.activation("act_fn", "silu")
    resnet = ResnetBlock2D.Settings(
      groups: try config.int("norm_num_groups", 32), epsilon: Float(try config.number("norm_eps", 1e-5)),
      activation: activation, time: timeWidth)
    midScale = Float(try config.number("mid_block_scale_factor", 1))
    timeActivation = activation
    // Null is as false.
    flipSinToCos = try config.bool("flip_sin_to_cos", config.object["flip_sin_to_cos"] == nil)
    frequencyShift = Float(try config.number("freq_shift", 0))
    downsamplePadding = try config.int("downsample_padding", 1, in: 0...1)
    kernelIn = try config.int("conv_in_kernel", 3, in: 1...15)
    kernelOut = try config.int("conv_out_kernel", 3, in: 1...15)
    addition = try Self.addition(config)
    try checkNumbers(config)
  }

  // MARK: Parts

  /// What diffusers takes no null for.
  private static let neverNull = [
    "in_channels", "out_channels", "freq_shift", "down_block_types", "up_block_types",
    "only_cross_attention", "block_out_channels", "layers_per_block", "downsample_padding",
    "mid_block_scale_factor", "act_fn", "norm_num_groups", "norm_eps", "cross_attention_dim",
    "transformer_layers_per_block", "attention_head_dim", "resnet_time_scale_shift", "time_embedding_type",
    "conv_in_kernel", "conv_out_kernel",
  ]

  /// Not among them what only blocks heed that are refused themselves: `resnet_skip_time_act`,
  /// `resnet_out_scale_factor`, `cross_attention_norm` and `mid_block_only_cross_attention`.
  private static func refuseUnsupported(_ config: Config) throws {
    try config.refuse("_class_name", except: ["UNet2DConditionModel"])
    for key in [
      "dual_cross_attention", "encoder_hid_dim", "encoder_hid_dim_type", "class_embed_type",
      "num_class_embeds", "timestep_post_act", "time_cond_proj_dim", "class_embeddings_concat",
      "time_embedding_act_fn",
    ] { try config.refuse(key) }
    try config.refuse("resnet_time_scale_shift", except: ["default"])
    try config.refuse("time_embedding_type", except: ["positional"])
    try config.refuse("attention_type", except: ["default"])
    try config.refuse("addition_embed_type", except: ["text_time"])
  }

  /// One number for both sides, or a pair of them.
  private static func sampleSize(_ config: Config) throws -> (height: Int, width: Int)? {
    let sides = 1...8192
    guard let pair = config.value("sample_size")?.array else {
      return try config.optionalInt("sample_size", in: sides).map { ($0, $0) }
    }
    let numbers = pair.compactMap(\.int).filter(sides.contains)
    guard numbers.count == 2, pair.count == 2 else {
      throw config.invalid("sample_size", "should be one number or two, from 1 to \(sides.upperBound)")
    }
    return (numbers[0], numbers[1])
  }

  private static func isBefore09(_ version: String?) -> Bool {
    guard let version else { return false }
    let parts = version.split(separator: ".").prefix(2).map { Int($0) }
    guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return false }
    return major == 0 && minor < 9
  }

  private static func blocks<Block: RawRepresentable & CaseIterable>(
    _ config: Config, _ key: String, _ fallback: [Block], _ levels: Int
  ) throws -> [Block] where Block.RawValue == String {
    let names = try config.strings(key, fallback.map(\.rawValue))
    guard names.count == levels else {
      throw config.invalid(key, "has \(names.count) entries, block_out_channels has \(levels)")
    }
    return try names.map {
      guard let block = Block(rawValue: $0) else {
        throw config.unsupported(key, .string($0), known: Block.allCases.map(\.rawValue))
      }
      return block
    }
  }

  private static func midBlock(_ config: Config) throws -> MidBlock? {
    // Here null means no block at all.
    if let value = config.object["mid_block_type"], value.isNull { return nil }
    let name = try config.string("mid_block_type", MidBlock.crossAttention.rawValue)
    guard let block = MidBlock(rawValue: name) else {
      throw config.unsupported(
        "mid_block_type", .string(name), known: MidBlock.allCases.map(\.rawValue) + ["null"])
    }
    return block
  }

  /// `transformer_layers_per_block`: one number, one a level, or for each level one a layer; with lists in the list
  /// diffusers wants those of the way up by themselves.
  private static func depths(_ config: Config, _ layers: [Int]) throws -> (
    down: [[Int]], up: [[Int]], mid: Int
  ) {
    let key = "transformer_layers_per_block"
    let down = try perLayer(config, key, layers)
    let up: [[Int]]
    if let reverse = config.value("reverse_\(key)") {
      guard reverse.array != nil else { throw config.wrongType("reverse_\(key)", "a list", reverse) }
      up = try perLayer(config, "reverse_\(key)", layers.reversed().map { $0 + 1 })
    } else {
      guard config.value(key)?.array?.contains(where: { $0.array != nil }) != true else {
        throw config.invalid(key, "is a list of lists, so reverse_\(key) is needed")
      }
      up = zip(down, layers).reversed().map { Array(repeating: $0[0], count: $1 + 1) }
    }
    return (down, up, down[down.count - 1][0])
  }

  private static func perLayer(_ config: Config, _ key: String, _ layers: [Int]) throws -> [[Int]] {
    let value = config.value(key) ?? .number(1)
    let entries = value.array ?? Array(repeating: value, count: layers.count)
    guard entries.count == layers.count else { throw config.wrongType(key, "\(layers.count) entries", value) }
    return try zip(entries, layers).map { entry, count in
      let depths = entry.array ?? Array(repeating: entry, count: count)
      guard depths.count == count else { throw config.wrongType(key, "\(count) layers", entry) }
      return try depths.map {
        guard let depth = $0.int, (0...32).contains(depth) else { throw config.wrongType(key, "0 to 32", $0) }
        return depth
      }
    }
  }

  /// diffusers wrote the number of heads to `attention_head_dim` and had to keep it. It refuses
  /// `num_attention_heads`, of which nobody knows what it would mean (`UNet2DConditionModel.__init__`).
  private static func heads(_ config: Config, _ levels: Int) throws -> [Int] {
    try config.refuse(
      "num_attention_heads",
      remedy: "Write the numbers of heads to attention_head_dim, as diffusers wants it.")
    return try config.ints("attention_head_dim", 8, count: levels)
  }

  private static func flags(_ config: Config, _ key: String, _ levels: Int) throws -> [Bool] {
    guard let array = config.value(key)?.array else {
      return Array(repeating: try config.bool(key, false), count: levels)
    }
    let flags = array.compactMap(\.bool)
    guard flags.count == levels, array.count == levels else {
      throw config.invalid(key, "needs \(levels) entries")
    }
    return flags
  }

  private static func addition(_ config: Config) throws -> Addition? {
    guard config.value("addition_embed_type") != nil else { return nil }
    guard let timeWidth = try config.optionalInt("addition_time_embed_dim"),
      let inputWidth = try config.optionalInt("projection_class_embeddings_input_dim")
    else {
      throw config.invalid(
        "addition_embed_type",
        "text_time needs addition_time_embed_dim and projection_class_embeddings_input_dim")
    }
    return Addition(timeWidth: timeWidth, inputWidth: inputWidth)
  }

  private func hasAttention(_ level: Int) -> Bool {
    let last = channels.count - 1
    return downBlocks[level] == .crossAttention || upBlocks[last - level] == .crossAttention
      || level == last && midBlock == .crossAttention
  }

  private func checkNumbers(_ config: Config) throws {
    // Blocks on the way up norm the concatenation with a skip connection, too.
    for width in channels where width % resnet.groups != 0 {
      throw config.invalid(
        "norm_num_groups", "\(resnet.groups) does not divide the \(width) channels of a block")
    }
    for (level, width) in channels.enumerated() where hasAttention(level) && heads[level] > width {
      throw config.invalid(
        "attention_head_dim", "\(heads[level]) heads are more than the block's \(width) channels")
    }
    for (key, number) in [
      ("mid_block_scale_factor", midScale), ("norm_eps", resnet.epsilon),
    ] where !(number > 0 && number.isFinite) {
      throw config.invalid(key, "should be above zero")
    }
    for (key, kernel) in [("conv_in_kernel", kernelIn), ("conv_out_kernel", kernelOut)] where kernel % 2 == 0
    {
      throw config.invalid(key, "should be odd")
    }
    guard frequencyShift >= 0, frequencyShift < Float(channels[0] / 2) else {
      throw config.invalid("freq_shift", "should be from 0 to half of block_out_channels[0]")
    }
  }
}
