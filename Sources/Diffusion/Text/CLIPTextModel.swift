import Engine

/// The text half of CLIP (Radford 2021): a causal transformer over tokens.
public struct CLIPTextModel {
  private let graph: Graph
  private let element: ElementType
  private let config: CLIPTextConfig
  private let tokenEmbedding, positionEmbedding: Value
  private let layers: [CLIPEncoderLayer]
  private let finalNorm: LayerNorm
  private let projection: Linear?

  /// Takes its weights from `scope`, with or without `text_model.` before their names.
  public init(_ scope: Scope, _ config: CLIPTextConfig) {
    graph = scope.graph
    element = scope.element
    self.config = config
    let hasPrefix = scope.has("text_model.embeddings.token_embedding.weight")
    let model = hasPrefix ? scope["text_model"] : scope
    let embeddings = model["embeddings"]
    tokenEmbedding = embeddings["token_embedding"].matrix(
      "weight", [config.vocabularySize, config.hiddenSize])
    positionEmbedding = embeddings["position_embedding"].matrix(
      "weight", [config.positions, config.hiddenSize])
    layers = (0..<config.layers).map { CLIPEncoderLayer(model["encoder.layers", $0], config) }
    finalNorm = LayerNorm(model["final_layer_norm"], config.hiddenSize, epsilon: config.epsilon)
    projection = config.projection.map {
      Linear(scope["text_projection"], config.hiddenSize, $0, bias: false)
    }
  }

  /// The states `[T, D]` before layer `count`, so after the embeddings and `count` layers: transformers'
  /// `hidden_states[count]`. `tokens` is i32 `[T]`.
  public func hiddenState(_ tokens: Value, afterLayers count: Int) -> Value {
    let length = graph.shape(tokens)[0]
    let positions = graph.slice(positionEmbedding, axis: 0, start: 0, count: length)
    let embedded = graph.add(graph.gather(tokenEmbedding, tokens), positions)
    return layers[..<count].reduce(embedded) { x, layer in layer(x) }
  }

  /// What SDXL hands to its UNet: the states before the last layer, without the final norm.
  public func penultimateState(_ tokens: Value) -> Value {
    hiddenState(tokens, afterLayers: config.layers - 1)
  }

  /// What SD hands to its UNet: the states after all layers and the final norm.
  public func lastState(_ tokens: Value) -> Value {
    finalNorm(hiddenState(tokens, afterLayers: config.layers))
  }

  /// The state at `position` (i32 `[1]`), projected where the model has a projection: `[1, P]`.
  public func pooled(_ tokens: Value, position: Value) -> Value {
    let state = graph.gather(lastState(tokens), position)
    return projection.map { $0(state) } ?? state
  }
}

/// Attention to earlier tokens and a feed-forward, each on a normed copy and added.
struct CLIPEncoderLayer {
  private let graph: Graph
  private let heads: Int
  private let activation: Activation
  private let norm1, norm2: LayerNorm
  private let query, key, value, out, expand, contract: Linear

  init(_ scope: Scope, _ config: CLIPTextConfig) {
    graph = scope.graph
    heads = config.heads
    activation = config.activation
    let width = config.hiddenSize
    norm1 = LayerNorm(scope["layer_norm1"], width, epsilon: config.epsilon)
    query = Linear(scope["self_attn.q_proj"], width, width)
    key = Linear(scope["self_attn.k_proj"], width, width)
    value = Linear(scope["self_attn.v_proj"], width, width)
    out = Linear(scope["self_attn.out_proj"], width, width)
    norm2 = LayerNorm(scope["layer_norm2"], width, epsilon: config.epsilon)
    expand = Linear(scope["mlp.fc1"], width, config.intermediateSize)
    contract = Linear(scope["mlp.fc2"], config.intermediateSize, width)
  }

  /// `[T, D] → [T, D]`
  func callAsFunction(_ x: Value) -> Value {
    let normed = norm1(x)
    let attended = graph.attention(query(normed), key(normed), value(normed), heads: heads, causal: true)
    let x = graph.add(x, out(attended))
    return graph.add(x, contract(graph.activation(expand(norm2(x)), activation)))
  }
}
