import Engine

/// `text_encoder/config.json` of transformers' CLIPTextModel. Absent keys take transformers' defaults.
public struct CLIPTextConfig: Sendable {
  let vocabularySize, hiddenSize, intermediateSize, heads: Int
  public let layers: Int
  /// Length of the longest prompt in tokens.
  public let positions: Int
  let activation: Activation
  let epsilon: Float
  public let endToken: Int
  /// Width of the pooled text, for CLIPTextModelWithProjection.
  let projection: Int?

  /// - Parameter withProjection: whether model_index.json names CLIPTextModelWithProjection.
  public init(_ config: Config, withProjection: Bool) throws {
    vocabularySize = try config.int("vocab_size", 49408)
    hiddenSize = try config.int("hidden_size", 512)
    intermediateSize = try config.int("intermediate_size", 2048)
    layers = try config.int("num_hidden_layers", 12, in: 1...256)
    heads = try config.int("num_attention_heads", 8)
    positions = try config.int("max_position_embeddings", 77, in: 2...65536)
    activation = try config.transformersActivation("hidden_act", "quick_gelu")
    epsilon = Float(try config.number("layer_norm_eps", 1e-5))
    endToken = try config.int("eos_token_id", 49407, in: 0...Config.largest)
    projection = withProjection ? try config.int("projection_dim", 512) : nil
    try config.refuse("use_attention_mask")
    guard hiddenSize % heads == 0 else {
      throw config.invalid("num_attention_heads", "\(heads) does not divide hidden_size \(hiddenSize)")
    }
    guard epsilon > 0, epsilon.isFinite else {
      throw config.invalid("layer_norm_eps", "should be above zero")
    }
  }

  /// Which token's state stands for the whole prompt: the first end token. Configurations before
  /// transformers 4.31 say 2, which was never the end token; there it is the highest token.
  public func pooledPosition(_ tokens: [Int32]) -> Int {
    let sought = endToken == 2 ? tokens.max() : Int32(endToken)
    return tokens.firstIndex { $0 == sought } ?? 0
  }
}
