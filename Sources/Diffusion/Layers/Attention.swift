import Engine

/// Multi-head attention with the four projections of diffusers' `Attention`.
struct Attention {
  private let graph: Graph
  private let heads: Int
  private let query, key, value, out: Linear

  /// `width` of the tokens, `context` width of what is attended to, `inner` = heads · head dimension.
  /// Older autoencoders name the projections query, key, value and proj_attn.
  init(_ scope: Scope, width: Int, context: Int, heads: Int, inner: Int, bias: Bool) {
    graph = scope.graph
    self.heads = heads
    query = Linear(scope.first("to_q", "query"), width, inner, bias: bias)
    key = Linear(scope.first("to_k", "key"), context, inner, bias: bias)
    value = Linear(scope.first("to_v", "value"), context, inner, bias: bias)
    out = Linear(scope.first("to_out.0", "proj_attn"), inner, width)
  }

  /// `x [T, width]`, `context [S, context]` → `[T, width]`
  func callAsFunction(_ x: Value, context: Value) -> Value {
    out(graph.attention(query(x), key(context), value(context), heads: heads))
  }
}

/// A transformer block: attention among the tokens, to the prompt, and a GEGLU feed-forward, each on a
/// normed copy and added (diffusers `BasicTransformerBlock`).
struct BasicTransformerBlock {
  private let graph: Graph
  private let norm1, norm2, norm3: LayerNorm
  private let attention1, attention2: Attention
  private let expand, contract: Linear
  private let onlyCrossAttention: Bool

  init(_ scope: Scope, width: Int, context: Int, heads: Int, onlyCrossAttention: Bool) {
    graph = scope.graph
    norm1 = LayerNorm(scope["norm1"], width, epsilon: 1e-5)
    attention1 = Attention(
      scope["attn1"], width: width, context: onlyCrossAttention ? context : width, heads: heads, inner: width,
      bias: false)
    norm2 = LayerNorm(scope["norm2"], width, epsilon: 1e-5)
    attention2 = Attention(
      scope["attn2"], width: width, context: context, heads: heads, inner: width, bias: false)
    norm3 = LayerNorm(scope["norm3"], width, epsilon: 1e-5)
    expand = Linear(scope["ff.net.0.proj"], width, 8 * width)
    contract = Linear(scope["ff.net.2"], 4 * width, width)
    self.onlyCrossAttention = onlyCrossAttention
  }

  /// `x [T, width]`, `context [S, context]` → `[T, width]`
  func callAsFunction(_ x: Value, context: Value) -> Value {
    let normed = norm1(x)
    var x = graph.add(x, attention1(normed, context: onlyCrossAttention ? context : normed))
    x = graph.add(x, attention2(norm2(x), context: context))
    return graph.add(x, contract(graph.geglu(expand(norm3(x)))))
  }
}
