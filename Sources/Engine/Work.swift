/// How much arithmetic an op asks for.
public enum Work {
  /// Floating-point operations, two for each multiply-add, of products alone: what the roof of a machine
  /// counts. Norms and elementwise ops are bound by memory and count 0.
  public static func operations(of node: Node, inputs: [TensorType]) -> Double {
    switch node.op {
    case .convolution(let convolution):
      let positions = convolution.parts(of: node.type.shape).dropLast().reduce(1, *)
      return 2 * Double(positions) * Double(inputs[1].count)
    case .linear:
      // Every position meets every weight once.
      return 2 * Double(node.type.rows) * Double(inputs[1].count)
    case .attention:
      let (t, s, width) = (inputs[0].shape[0], inputs[1].shape[0], inputs[0].shape[1])
      return 4 * Double(t) * Double(s) * Double(width)
    default: return 0
    }
  }
}
