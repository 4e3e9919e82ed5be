import Engine

/// A 2-D convolution as PyTorch stores it: `weight [K, C, R, S]`.
struct Conv2d {
  private let graph: Graph
  private let weight: Value
  private let bias: Value?
  private let stride: Int
  private let padding: Padding

  /// `padding` is half the kernel where it is not given, which keeps the size at stride 1.
  init(
    _ scope: Scope, _ input: Int, _ output: Int, kernel: Int = 3, stride: Int = 1, padding: Padding? = nil,
    bias: Bool = true
  ) {
    graph = scope.graph
    // The engine wants K, R, S, C.
    weight = graph.transpose(scope.matrix("weight", [output, input, kernel, kernel]), [0, 2, 3, 1])
    self.bias = bias ? scope.vector("bias", output) : nil
    self.stride = stride
    self.padding = padding ?? Padding(kernel / 2)
  }

  /// `[H, W, C] → [H', W', K]`
  func callAsFunction(_ x: Value) -> Value {
    graph.convolution(x, weight: weight, bias: bias, stride: stride, padding: padding)
  }
}

/// `y = x·Wᵀ + b`, `weight [K, C]`.
struct Linear {
  private let graph: Graph
  private let weight: Value
  private let bias: Value?

  /// `pointwise`: the file has a 1x1 convolution `[K, C, 1, 1]`, which is the same in our layout.
  init(_ scope: Scope, _ input: Int, _ output: Int, bias: Bool = true, pointwise: Bool = false) {
    graph = scope.graph
    let shape = pointwise ? [output, input, 1, 1] : [output, input]
    weight = graph.reshape(scope.matrix("weight", shape), [output, input])
    self.bias = bias ? scope.vector("bias", output) : nil
  }

  /// `[..., C] → [..., K]`
  func callAsFunction(_ x: Value) -> Value { graph.linear(x, weight: weight, bias: bias) }
}

struct GroupNorm {
  private let graph: Graph
  private let groups: Int
  private let epsilon: Float
  private let gain, shift: Value

  init(_ scope: Scope, _ channels: Int, groups: Int, epsilon: Float) {
    graph = scope.graph
    self.groups = groups
    self.epsilon = epsilon
    gain = scope.vector("weight", channels)
    shift = scope.vector("bias", channels)
  }

  func callAsFunction(_ x: Value) -> Value {
    graph.groupNorm(x, groups: groups, epsilon: epsilon, gain: gain, shift: shift)
  }
}

struct LayerNorm {
  private let graph: Graph
  private let epsilon: Float
  private let gain, shift: Value

  init(_ scope: Scope, _ width: Int, epsilon: Float) {
    graph = scope.graph
    self.epsilon = epsilon
    gain = scope.vector("weight", width)
    shift = scope.vector("bias", width)
  }

  func callAsFunction(_ x: Value) -> Value { graph.layerNorm(x, epsilon: epsilon, gain: gain, shift: shift) }
}

extension Activation {
  /// What there is of the activations that diffusers and transformers name.
  static let names = ["silu", "swish", "gelu", "quick_gelu", "relu"]

  init?(named name: String) {
    switch name {
    case "silu", "swish": self = .silu
    case "gelu": self = .gelu
    case "quick_gelu": self = .quickGelu
    case "relu": self = .relu
    default: return nil
    }
  }
}

extension Config {
  func activation(_ key: String, _ fallback: String) throws -> Activation {
    let name = try string(key, fallback)
    guard let activation = Activation(named: name) else {
      throw unsupported(key, .string(name), known: Activation.names)
    }
    return activation
  }
}
