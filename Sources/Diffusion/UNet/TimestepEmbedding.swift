import Engine

/// Two linear layers over sinusoids (diffusers `TimestepEmbedding`).
struct TimestepEmbedding {
  private let graph: Graph
  private let activation: Activation
  private let linear1, linear2: Linear

  init(_ scope: Scope, _ input: Int, _ output: Int, _ activation: Activation) {
    graph = scope.graph
    self.activation = activation
    linear1 = Linear(scope["linear_1"], input, output)
    linear2 = Linear(scope["linear_2"], output, output)
  }

  /// `[1, input] → [1, output]`
  func callAsFunction(_ x: Value) -> Value { linear2(graph.activation(linear1(x), activation)) }
}
