/// How much arithmetic an op asks for.
public enum Work {
  /// Floating-point operations, two for each multiply-add, of products alone: what the roof of a machine
  /// counts. Norms and elementwise ops are bound by memory and count 0.
  public static func operations(of node: Node, inputs: [TensorType]) -> Double {
    switch node.op {
    case .convolution(let convolution):
      let positions = convolution.parts(of: node.type.shape).dropLast().reduce(1, *)
      return 2 * Double(positions) * Double(inputs[1].count)
    case .winograd:
      return 2 * Double(tiles(of: node.type.shape)) * Double(inputs[1].count)
    case .linear:
      // Every position meets every weight once.
      return 2 * Double(node.type.rows) * Double(inputs[1].count)
    case .attention:
      let (t, s, width) = (inputs[0].shape[0], inputs[1].shape[0], inputs[0].shape[1])
      return 4 * Double(t) * Double(s) * Double(width)
    default: return 0
    }
  }

  /// Tiles of 4x4 pixels that cover a picture `[H, W, C]`.
  static func tiles(of shape: [Int]) -> Int { (shape[0] + 3) / 4 * ((shape[1] + 3) / 4) }

  /// What it multiplies.
  public static func element(of node: Node, inputs: [TensorType]) -> ElementType {
    if case .winograd = node.op { return .f32 }
    return (inputs.first ?? node.type).element
  }
}
