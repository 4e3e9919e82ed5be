import Engine

/// A 2-D convolution as PyTorch stores it: `weight [K, C, R, S]`.
struct Conv2d {
  private let graph: Graph
  private let weights: Weights
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
    weights = Weights(scope, [output, input, kernel, kernel]) { [graph] in graph.transpose($0, [0, 2, 3, 1]) }
    self.bias = bias ? scope.vector("bias", output) : nil
    self.stride = stride
    self.padding = padding ?? Padding(kernel / 2)
  }

  /// `[H, W, C] → [H', W', K]`
  func callAsFunction(_ x: Value) -> Value {
    switch weights {
    case .plain(let weight):
      return graph.convolution(x, weight: weight, bias: bias, stride: stride, padding: padding)
    case .int8(let weights):
      return graph.convolution(
        graph.quantize(x, factors: weights.factors), weight: weights.matrix, scale: weights.scale, bias: bias,
        stride: stride, padding: padding, element: graph.type(x).element)
    }
  }
}

/// `y = x·Wᵀ + b`, `weight [K, C]`.
struct Linear {
  private let graph: Graph
  private let weights: Weights
  private let bias: Value?

  /// `pointwise`: the file has a 1x1 convolution `[K, C, 1, 1]`, which is the same in our layout.
  init(_ scope: Scope, _ input: Int, _ output: Int, bias: Bool = true, pointwise: Bool = false) {
    graph = scope.graph
    let shape = pointwise ? [output, input, 1, 1] : [output, input]
    weights = Weights(scope, shape) { [graph] in graph.reshape($0, [output, input]) }
    self.bias = bias ? scope.vector("bias", output) : nil
  }

  /// `[..., C] → [..., K]`
  func callAsFunction(_ x: Value) -> Value {
    switch weights {
    case .plain(let weight): return graph.linear(x, weight: weight, bias: bias)
    case .int8(let weights):
      return graph.linear(
        graph.quantize(x, factors: weights.factors), weight: weights.matrix, scale: weights.scale, bias: bias,
        element: graph.type(x).element)
    }
  }
}

/// What a product multiplies with.
private enum Weights {
  case plain(Value)
  case int8(Int8Weights)

  /// `shape` is the file's; `arrange` makes the engine's of it.
  init(_ scope: Scope, _ shape: [Int], arrange: (Value) -> Value) {
    if var weights = scope.int8Weights(shape) {
      weights.matrix = arrange(weights.matrix)
      self = .int8(weights)
    } else {
      self = .plain(arrange(scope.matrix("weight", shape)))
    }
  }
}

/// Weights of eight bits, and what brings them and what they meet to size:
///
///     y[k] = scale[k] · Σ W8[k, c] · round(x[c] · factors[c]) + b[k]
struct Int8Weights {
  /// i8, filters first.
  var matrix: Value
  /// f32 [K].
  var scale: Value
  /// f32 [C], one over the steps in which inputs are counted.
  var factors: Value

  /// Tensors beside the weight: steps of each filter's weights, and of each input channel.
  static let scaleName = "weight_scale"
  static let inputName = "input_scale"
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
  /// As diffusers names them, in whatever case.
  func activation(_ key: String, _ fallback: String) throws -> Activation {
    let name = try string(key, fallback)
    guard let activation = Activation(named: name.lowercased()), activation != .quickGelu else {
      throw unsupported(key, .string(name), known: Activation.names.filter { $0 != "quick_gelu" })
    }
    return activation
  }

  /// As transformers names them.
  func transformersActivation(_ key: String, _ fallback: String) throws -> Activation {
    let name = try string(key, fallback)
    guard let activation = Activation(named: name) else {
      throw unsupported(key, .string(name), known: Activation.names)
    }
    return activation
  }
}
