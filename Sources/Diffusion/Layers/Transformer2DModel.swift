import Engine

/// Transformer blocks over the pixels of a feature map (diffusers `Transformer2DModel`).
struct Transformer2DModel {
  struct Settings {
    /// Width of the text it attends to.
    var context: Int
    var heads: Int
    var depth: Int
    var groups: Int
    var linearProjection: Bool
    var onlyCrossAttention: Bool
  }

  private let graph: Graph
  private let norm: GroupNorm
  private let projectIn, projectOut: Linear
  private let blocks: [BasicTransformerBlock]

  init(_ scope: Scope, _ channels: Int, _ settings: Settings) {
    graph = scope.graph
    let inner = channels / settings.heads * settings.heads
    let pointwise = !settings.linearProjection
    norm = GroupNorm(scope["norm"], channels, groups: settings.groups, epsilon: 1e-6)
    projectIn = Linear(scope["proj_in"], channels, inner, pointwise: pointwise)
    blocks = (0..<settings.depth).map {
      BasicTransformerBlock(
        scope["transformer_blocks", $0], width: inner, context: settings.context, heads: settings.heads,
        onlyCrossAttention: settings.onlyCrossAttention)
    }
    projectOut = Linear(scope["proj_out"], inner, channels, pointwise: pointwise)
  }

  /// `x [H, W, C]`, `context [S, D]` → `[H, W, C]`
  func callAsFunction(_ x: Value, context: Value) -> Value {
    let shape = graph.shape(x)
    var tokens = projectIn(graph.reshape(norm(x), [shape[0] * shape[1], shape[2]]))
    for block in blocks { tokens = block(tokens, context: context) }
    return graph.add(x, graph.reshape(projectOut(tokens), shape))
  }
}
