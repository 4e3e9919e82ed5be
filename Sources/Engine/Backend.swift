/// What a backend does while it compiles, and how much of it is done, 0...1.
public enum CompileProgress: Sendable {
  /// Makes code for this machine: only where it has not been made before.
  case kernels(Double)
  case weights(Double)
}

/// Turns graphs into something that runs.
public protocol Backend: AnyObject {
  /// For people: "CPU, oneDNN 2.6.3, bf16 (AVX512_BF16)".
  var description: String { get }
  /// The element type activations and weights should have for this hardware.
  var preferredElement: ElementType { get }
  /// The element type for parts of a model that leave the range of f16 (65504), such as SDXL's autoencoder.
  var wideElement: ElementType { get }
  /// Whether products of i8 run here.
  var multipliesInt8: Bool { get }
  /// Runs the `load` program and prepares the other two. Weights that an earlier program of this backend
  /// packed from the same source are shared with it.
  func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
}

extension Backend {
  public var wideElement: ElementType { .f32 }
  public var multipliesInt8: Bool { false }
}
