import Engine
import Testing

/// Weights by name, for tests.
final class Numbers: WeightSource {
  private let tensors: [String: (TensorType, [UInt8])]
  init(_ tensors: [String: ([Int], [Float])]) {
    self.tensors = tensors.mapValues { (TensorType($0.0, .f32), ElementCodec.encode($0.1, .f32)) }
  }
  func type(of name: String) -> TensorType? { tensors[name]?.0 }
  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let bytes = tensors[name]?.1 else { throw EngineError.missingWeight(name) }
    return try bytes.withUnsafeBytes(body)
  }
}

/// The reference defines the ops, so it is held against numbers worked out by hand.
@Suite struct ReferenceTests {
  private func run(_ input: [Float], _ shape: [Int], _ write: (Graph, Value) -> Value) throws -> [Float] {
    let graph = Graph()
    graph.output("y", write(graph, graph.input("x", shape, .f32, .frame)))
    let program = try ReferenceBackend().compile(graph, weights: Numbers([:])) { _ in }
    try ElementCodec.encode(input, .f32).withUnsafeBytes { try program.write("x", $0) }
    try program.run()
    let type = try #require(program.type(of: "y"))
    return try program.withOutput("y") { ElementCodec.decode($0, type.element) }
  }

  @Test func convolutionSlidesTheKernelOverThePaddedPicture() throws {
    let y = try run([1, 2, 3, 4], [2, 2, 1]) { graph, x in
      graph.convolution(
        x, weight: graph.constant([0, 1, 0, 1, 10, 100, 0, 0, 0], [1, 3, 3, 1]),
        bias: graph.constant([0.5], [1]),
        padding: Padding(1))
    }
    // Centre ·10, right ·100, left ·1, above ·1.
    #expect(y == [210.5, 21.5, 431.5, 45.5])
  }

  @Test func asymmetricPaddingAndStrideKeepTheLastPixel() throws {
    let y = try run([1, 2, 3, 4], [2, 2, 1]) { graph, x in
      graph.convolution(
        x, weight: graph.constant([Float](repeating: 1, count: 9), [1, 3, 3, 1]), stride: 2,
        padding: Padding(top: 0, left: 0, bottom: 1, right: 1))
    }
    #expect(y == [10])
  }

  @Test func groupNormHasZeroMeanAndUnitVarianceInEachGroup() throws {
    let y = try run([1, 10, 3, 30], [2, 1, 2]) { graph, x in
      graph.groupNorm(
        x, groups: 2, epsilon: 0, gain: graph.constant([1, 2], [2]), shift: graph.constant([0, 1], [2]))
    }
    #expect(y == [-1, -1, 1, 3])
  }

  @Test func causalAttentionSeesNoLaterToken() throws {
    let y = try run([0, 0, 0], [3, 1]) { graph, x in
      graph.attention(x, x, graph.constant([3, 6, 9], [3, 1]), heads: 1, causal: true)
    }
    #expect(y == [3, 4.5, 6])
  }

  @Test func broadcastAddsAVectorToEveryPixel() throws {
    let y = try run([1, 2, 3, 4], [2, 1, 2]) { $0.add($1, $0.constant([10, 20], [2])) }
    #expect(y == [11, 22, 13, 24])
  }

  @Test func upsamplingTakesTheNearestSourceForOddSizes() throws {
    let y = try run([1, 2], [1, 2, 1]) { $0.upsampleNearest($1, height: 1, width: 5) }
    #expect(y == [1, 1, 1, 2, 2])
  }

  @Test func pixelsAreRoundedAndClamped() throws {
    let y = try run([-2, 0, 0.0039, 2, .nan], [5]) { $0.quantizePixels($1, scale: 127.5, offset: 127.5) }
    #expect(y == [0, 128, 128, 255, 0])
  }

  @Test func concatSliceAndTransposeMoveElements() throws {
    let y = try run([1, 2, 3, 4], [2, 2]) { graph, x in
      let turned = graph.transpose(x, [1, 0])
      return graph.slice(graph.concat([x, turned], axis: 1), axis: 1, start: 1, count: 2)
    }
    #expect(y == [2, 1, 4, 2])
  }

  @Test func theSameNodeIsWrittenOnce() {
    let graph = Graph()
    let x = graph.input("x", [4], .f32, .frame)
    #expect(graph.activation(x, .silu) == graph.activation(x, .silu))
    #expect(graph.activation(x, .silu) != graph.activation(x, .gelu))
  }

  @Test func cadenceIsTheFastestOfTheInputs() {
    let graph = Graph()
    let weight = graph.weight("w", [2, 2], .f32)
    let prompt = graph.linear(graph.input("p", [2], .f32, .settings), weight: weight)
    let frame = graph.add(graph.input("x", [2], .f32, .frame), prompt)
    #expect([weight, prompt, frame].map { graph[$0].cadence } == [.load, .settings, .frame])
  }

  @Test func aMissingWeightIsNamed() {
    let graph = Graph()
    graph.output("y", graph.weight("conv_in.weight", [2], .f32))
    #expect(throws: EngineError.missingWeight("conv_in.weight")) {
      _ = try ReferenceBackend().compile(graph, weights: Numbers([:])) { _ in }
    }
  }
}
