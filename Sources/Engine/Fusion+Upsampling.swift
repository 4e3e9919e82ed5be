extension Fusion {
  /// A 3x3 convolution after doubling by nearest neighbours sees each source pixel several times. For each of
  /// the four positions that a result has within a doubled pixel, its nine taps fall on 2x2 source pixels:
  /// four convolutions of the small picture with sums of taps, 16 products in place of 36. They run as one
  /// convolution with four times the filters, whose sums are made when the model is opened. Where the
  /// backend's own convolution doubles the picture as it reads it, 25 products do. Not of int8: sums of taps
  /// leave eight bits.
  public static func splitUpsampling(
    _ graph: Graph,
    upsamplesInput: (_ convolution: Node, _ picture: TensorType, _ weight: Node) -> Bool = { _, _, _ in false
    }
  ) -> Graph {
    Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      guard case .convolution(let settings) = node.op, settings.stride == 1, settings.padding == Padding(1),
        !settings.epilogue.residual, !settings.epilogue.scaled, rewrite.isReadOnce(node.inputs[0])
      else { return nil }
      let (picture, weight) = (rewrite.image(node.inputs[0]), rewrite.image(node.inputs[1]))
      let new = rewrite.new
      guard case .upsampleNearest(let height, let width) = new[picture].op,
        new.shape(weight)[1...2] == [3, 3], new[weight].cadence == .load
      else { return nil }
      let small = new[picture].inputs[0]
      guard new.shape(small)[0] * 2 == height, new.shape(small)[1] * 2 == width else { return nil }
      if upsamplesInput(node, new.type(small), new[weight]) {
        var doubled = settings
        doubled.upsamplesInput = true
        return new.add(
          .convolution(doubled), [small] + node.inputs.dropFirst().map(rewrite.image), node.type)
      }
      let bias = settings.epilogue.bias ? rewrite.image(node.inputs[2]) : nil
      let phases = Epilogue(bias: bias != nil, activation: settings.epilogue.activation)
      let operands =
        [small, phaseWeights(weight, new)] + (bias.map { [new.concat([$0, $0, $0, $0], axis: 0)] } ?? [])
      let shape = [height / 2 + 1, width / 2 + 1, 4 * node.type.columns]
      let parts = new.add(
        .convolution(Convolution(padding: Padding(1), epilogue: phases)), operands,
        TensorType(shape, node.type.element))
      return new.joinPhases(parts)
    }
  }

  /// `[K, 3, 3, C]` → `[4K, 2, 2, C]`. Of a doubled row, the upper result has tap 0 on the source row before
  /// and taps 1 and 2 on its own; the lower has 0 and 1 on its own and 2 on the next. The same for columns.
  private static func phaseWeights(_ weight: Value, _ graph: Graph) -> Value {
    let exact = inFloats(weight, graph)
    let rows = halves(exact, axis: 1, graph)
    let phases = rows.flatMap { halves($0, axis: 2, graph) }
    return graph.cast(graph.concat(phases, axis: 0), graph.type(weight).element)
  }

  /// The kernels of the first and the second half of a doubled pixel, along one axis.
  private static func halves(_ x: Value, axis: Int, _ graph: Graph) -> [Value] {
    let taps = (0..<3).map { graph.slice(x, axis: axis, start: $0, count: 1) }
    return [
      graph.concat([taps[0], graph.add(taps[1], taps[2])], axis: axis),
      graph.concat([graph.add(taps[0], taps[1]), taps[2]], axis: axis),
    ]
  }

  /// The four phases are stored where they belong at once.
  static func joinProducts(_ graph: Graph) -> Graph {
    Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      guard case .joinPhases = node.op, rewrite.isReadOnce(node.inputs[0]) else { return nil }
      let product = rewrite.new[rewrite.image(node.inputs[0])]
      guard case .convolution(var convolution) = product.op, !convolution.epilogue.residual else {
        return nil
      }
      convolution.joinsPhases = true
      return rewrite.new.inStage(product.stage) {
        rewrite.new.add(.convolution(convolution), product.inputs, node.type)
      }
    }
  }

  /// The value as f32, from the checkpoint's own numbers where it only moves them, so that sums round once.
  static func inFloats(_ value: Value, _ graph: Graph) -> Value {
    let node = graph[value]
    let type = TensorType(node.type.shape, .f32)
    switch node.op {
    case .weight: return graph.add(node.op, [], type)
    case .transpose, .reshape: return graph.add(node.op, [inFloats(node.inputs[0], graph)], type)
    default: return graph.cast(value, .f32)
    }
  }
}
