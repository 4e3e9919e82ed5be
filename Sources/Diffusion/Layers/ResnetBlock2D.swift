import Engine

/// The residual block of UNets and autoencoders: norm, activation, convolution, twice, with the time
/// embedding added between (Ho 2020, appendix B; diffusers `ResnetBlock2D`, `time_embedding_norm = default`).
struct ResnetBlock2D {
  struct Settings {
    var groups: Int
    var epsilon: Float
    var activation: Activation
    /// Width of the time embedding; nil in autoencoders.
    var time: Int?
    /// The sum is divided by it (`output_scale_factor`).
    var outputScale: Float = 1
  }

  private let graph: Graph
  private let settings: Settings
  private let norm1, norm2: GroupNorm
  private let conv1, conv2: Conv2d
  private let timeProjection: Linear?
  private let shortcut: Conv2d?

  init(_ scope: Scope, _ input: Int, _ output: Int, _ settings: Settings) {
    graph = scope.graph
    self.settings = settings
    norm1 = GroupNorm(scope["norm1"], input, groups: settings.groups, epsilon: settings.epsilon)
    conv1 = Conv2d(scope["conv1"], input, output)
    timeProjection = settings.time.map { Linear(scope["time_emb_proj"], $0, output) }
    norm2 = GroupNorm(scope["norm2"], output, groups: settings.groups, epsilon: settings.epsilon)
    conv2 = Conv2d(scope["conv2"], output, output)
    shortcut = input == output ? nil : Conv2d(scope["conv_shortcut"], input, output, kernel: 1)
  }

  /// `x [H, W, C]`, `time [1, E]` before its activation → `[H, W, K]`
  func callAsFunction(_ x: Value, time: Value? = nil) -> Value {
    var h = conv1(activate(norm1(x)))
    if let time, let timeProjection { h = graph.add(h, timeProjection(activate(time))) }
    h = conv2(activate(norm2(h)))
    let sum = graph.add(shortcut.map { $0(x) } ?? x, h)
    return settings.outputScale == 1 ? sum : graph.affine(sum, scale: 1 / settings.outputScale, offset: 0)
  }

  private func activate(_ x: Value) -> Value { graph.activation(x, settings.activation) }
}

/// Half the size: a convolution of stride 2.
struct Downsample2D {
  private let conv: Conv2d

  init(_ scope: Scope, _ channels: Int, padding: Padding) {
    conv = Conv2d(scope["conv"], channels, channels, stride: 2, padding: padding)
  }

  func callAsFunction(_ x: Value) -> Value { conv(x) }
}

/// Twice the size, or the size given, by repeating pixels; then a convolution.
struct Upsample2D {
  private let graph: Graph
  private let conv: Conv2d

  init(_ scope: Scope, _ channels: Int) {
    graph = scope.graph
    conv = Conv2d(scope["conv"], channels, channels)
  }

  /// `size` is that of the skip connection the result must meet, where sizes are odd.
  func callAsFunction(_ x: Value, size: [Int]? = nil) -> Value {
    let (height, width) = (graph.shape(x)[0], graph.shape(x)[1])
    return conv(graph.upsampleNearest(x, height: size?[0] ?? 2 * height, width: size?[1] ?? 2 * width))
  }
}
