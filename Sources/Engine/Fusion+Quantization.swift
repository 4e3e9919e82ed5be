extension Fusion {
  /// What only int8 products read is stored as i8 by the norm or the gate that makes it.
  static func quantizeAtOnce(_ graph: Graph) -> Graph {
    Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      guard case .quantize = node.op, let source = maker(of: node.inputs[0], rewrite) else { return nil }
      let made = rewrite.new[rewrite.image(source)]
      return rewrite.new.inStage(made.stage) {
        let result = rewrite.new.add(
          made.op, made.inputs + [rewrite.image(node.inputs[1])], TensorType(made.type.shape, .i8))
        return rewrite.new.reshape(result, node.type.shape)
      }
    }
  }

  /// The norm or gate whose result nobody else reads, itself or as other rows: a picture's pixels are tokens.
  private static func maker(of value: Value, _ rewrite: Rewrite) -> Value? {
    guard rewrite.isReadOnce(value) else { return nil }
    let node = rewrite.old[value]
    switch node.op {
    case .groupNorm, .layerNorm, .geglu: return rewrite.old.type(value).element == .i8 ? nil : value
    case .reshape:
      return node.type.columns == rewrite.old.type(node.inputs[0]).columns
        ? maker(of: node.inputs[0], rewrite) : nil
    default: return nil
    }
  }
}
