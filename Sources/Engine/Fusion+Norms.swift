extension Fusion {
  /// A linear layer after a layer norm multiplies what has not been normalised:
  ///
  ///     norm(x) Wᵀ + b = ((x - m) / d · g + s) Wᵀ + b = (x Vᵀ - m v) / d + (W s + b)     V = W · g, v = sums of V's rows
  ///
  /// so that the norm's result, gains and shifts are never in memory: V, v and the new bias are made when the
  /// model is opened, mean m and deviation d of each row by an op that only reads. v is of V as it is stored,
  /// or a mean that is far larger than the deviation would leave its rounding behind. Only in frames;
  /// elsewhere it saves nothing.
  static func foldNorms(_ graph: Graph) -> Graph {
    let live = Liveness(graph)
    let outputs = Set(graph.outputs.map(\.value))
    /// Norms that are read by linear layers alone: others' results have to be there anyhow.
    func isFolded(_ norm: Value) -> Bool {
      // Of more inputs the last is factors, by which it stores i8.
      graph[norm].cadence == .frame && !outputs.contains(norm) && graph[norm].inputs.count == 3
        && graph[norm].inputs.dropFirst().allSatisfy { graph[$0].cadence == .load }
        && live.consumers[norm.index].allSatisfy { reader, operand in
          operand == 0 && isPlainLinear(graph[reader], graph)
        }
    }
    return Rewrite.run(graph) { rewrite, value in
      let node = rewrite.old[value]
      guard case .linear(let epilogue) = node.op, let norm = node.inputs.first,
        case .layerNorm(let epsilon) = rewrite.old[norm].op, isFolded(norm)
      else { return nil }
      let layer = Normalized(
        norm: rewrite.old[norm].inputs.map(rewrite.image), epsilon: epsilon, epilogue: epilogue,
        inputs: node.inputs.map(rewrite.image), type: node.type)
      return layer.write(rewrite.new)
    }
  }

  private static func isPlainLinear(_ node: Node, _ graph: Graph) -> Bool {
    guard case .linear(let epilogue) = node.op else { return false }
    return !epilogue.normalized && !epilogue.scaled && graph[node.inputs[1]].cadence == .load
  }

  /// A linear layer with the norm before it.
  private struct Normalized {
    /// x, gain, shift.
    var norm: [Value]
    var epsilon: Float
    var epilogue: Epilogue
    var inputs: [Value]
    var type: TensorType

    func write(_ graph: Graph) -> Value {
      let (x, gain, shift) = (norm[0], norm[1], norm[2])
      let exact = inFloats(inputs[1], graph)
      let element = graph.type(inputs[1]).element
      let weight = graph.cast(graph.multiply(exact, graph.cast(gain, .f32)), element)
      let width = graph.shape(weight)[1]
      let ones = graph.constant(Array(repeating: 1, count: width), [width])
      let sums = product(graph.cast(weight, .f32), ones, graph)
      var bias = product(exact, graph.cast(shift, .f32), graph)
      if epilogue.bias { bias = graph.add(graph.cast(inputs[2], .f32), bias) }
      var new = epilogue
      (new.bias, new.normalized) = (true, true)
      let residual = epilogue.residual ? [inputs[inputs.count - 1]] : []
      let moments = graph.moments(x, epsilon: epsilon)
      return graph.add(.linear(new), [x, weight, bias, sums, moments] + residual, type)
    }

    /// `[K, C]` times `[C]`, both f32.
    private func product(_ matrix: Value, _ vector: Value, _ graph: Graph) -> Value {
      let width = graph.shape(vector)[0]
      let row = graph.linear(graph.reshape(vector, [1, width]), weight: matrix)
      return graph.reshape(row, [graph.shape(matrix)[0]])
    }
  }
}
