import Engine
import TestSupport

/// How far one of a graph's results is from f32's, and how far the reference's is, which rounds after every op.
public struct RoundingError: Sendable {
  public let found: Double
  public let reference: Double
}

extension Case {
  /// A random graph in `element` on a backend.
  public static func roundingErrors(seed: Int, _ element: ElementType, on backend: any Backend) throws
    -> [RoundingError]
  {
    let (exact, rounded) = (Case(seed: seed), Case(seed: seed))
    exact.writeRandomGraph(length: 3 + seed % 8, element: .f32)
    rounded.writeRandomGraph(length: 3 + seed % 8, element: element)
    let expected = try exact.run(ReferenceBackend())
    let (reference, found) = (try rounded.run(ReferenceBackend()), try rounded.run(backend))
    return expected.map { name, numbers in
      RoundingError(
        found: relativeError(found[name] ?? [], numbers),
        reference: relativeError(reference[name] ?? [], numbers))
    }
  }
}

/// Writes graphs out of everything models are made of, in random order and of random cadence.
extension Case {
  /// `length` ops over pictures and tokens; the last values are outputs.
  public func writeRandomGraph(length: Int, element: ElementType) {
    var pictures = [
      scaled(input([6, 8, 8], element)), scaled(input([6, 8, 8], element, .settings)),
      scaled(input([6, 8, 8], element, .settings)),
    ]
    for _ in 0..<length {
      let x = pictures[dice.pick(0...pictures.count - 1)]
      pictures.append(step(x, pictures))
    }
    for (index, value) in pictures.suffix(3).enumerated() { graph.output("out \(index)", value) }
  }

  private func scaled(_ x: Value) -> Value { graph.affine(x, scale: 0.9, offset: 0.1) }

  private func step(_ x: Value, _ pictures: [Value]) -> Value {
    let shape = graph.shape(x)
    switch dice.pick(0...12) {
    case 0: return graph.activation(convolution(x, filters: shape[2], kernel: 3), .silu)
    case 1: return graph.add(x, convolution(norm(x), filters: shape[2], kernel: 3))
    case 2: return graph.add(convolution(x, filters: shape[2], kernel: 1), x)
    case 3: return graph.activation(norm(x), .silu)
    case 4: return addVector(convolution(x, filters: 4 * dice.pick(1...4), kernel: 3))
    case 5: return attention(x)
    case 6: return feedForward(x)
    case 7: return graph.slice(x, axis: 2, start: dice.pick(0...shape[2] / 2), count: shape[2] / 4 + 1)
    case 8: return graph.concat([x] + pictures.filter { graph.shape($0) == shape }.prefix(1), axis: 2)
    case 9 where shape[0] * shape[1] <= 200:
      let larger = graph.upsampleNearest(x, height: 2 * shape[0], width: 2 * shape[1])
      return graph.activation(convolution(larger, filters: shape[2], kernel: 3), .silu)
    case 10 where shape[0] > 4: return graph.slice(x, axis: 0, start: 1, count: shape[0] - 2)
    case 11:
      let partner = pictures.last { graph.shape($0) == shape } ?? x
      return graph.activation(graph.add(convolution(x, filters: shape[2], kernel: 3), partner), .relu)
    default: return graph.activation(graph.multiply(x, x), .tanh)
    }
  }

  private func element(_ x: Value) -> ElementType { graph.type(x).element }

  private func convolution(_ x: Value, filters: Int, kernel: Int) -> Value {
    let channels = graph.shape(x)[2]
    let limit = (3 / Float(channels * kernel * kernel)).squareRoot()
    let w = weight([filters, channels, kernel, kernel], element(x), stored: .f16, -limit...limit)
    return graph.convolution(
      x, weight: graph.transpose(w, [0, 2, 3, 1]), bias: dice.pick(0...2) > 0 ? weight([filters]) : nil,
      padding: Padding(kernel / 2))
  }

  private func linear(_ x: Value, _ features: Int, bias: Bool) -> Value {
    let width = graph.type(x).columns
    let limit = (3 / Float(width)).squareRoot()
    return graph.linear(
      x, weight: weight([features, width], element(x), stored: .bf16, -limit...limit),
      bias: bias ? weight([features]) : nil)
  }

  private func norm(_ x: Value) -> Value {
    let channels = graph.type(x).columns
    let groups = channels % 4 == 0 ? 4 : 1
    return graph.groupNorm(
      x, groups: groups, epsilon: 1e-3, gain: weight([channels]), shift: weight([channels]))
  }

  private func addVector(_ x: Value) -> Value {
    let channels = graph.type(x).columns
    let setting = input([1, 6], element(x), dice.pick(0...2) > 0 ? .settings : .frame)
    return graph.add(x, linear(graph.activation(setting, .silu), channels, bias: true))
  }

  private func attention(_ x: Value) -> Value {
    let shape = graph.shape(x)
    let tokens = graph.reshape(x, [shape[0] * shape[1], shape[2]])
    let normed = graph.layerNorm(tokens, epsilon: 1e-3, gain: weight([shape[2]]), shift: weight([shape[2]]))
    let context = dice.pick(0...1) == 0 ? normed : scaled(input([5, shape[2]], element(x), .settings))
    let bias = dice.pick(0...1) == 0
    let (q, k, v) = (
      linear(normed, shape[2], bias: bias), linear(context, shape[2], bias: bias),
      linear(context, shape[2], bias: bias)
    )
    let heads = shape[2] % 2 == 0 ? 2 : 1
    let mixed = linear(graph.attention(q, k, v, heads: heads), shape[2], bias: true)
    return graph.reshape(graph.add(tokens, mixed), shape)
  }

  private func feedForward(_ x: Value) -> Value {
    let width = graph.type(x).columns
    return graph.add(x, linear(graph.geglu(linear(x, 4 * width, bias: true)), width, bias: true))
  }
}
