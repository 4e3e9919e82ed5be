import CKernels
import Engine

extension Lowering {
  func winograd(
    _ value: Value, _ node: Node, _ settings: Convolution, _ tiles: TiledConvolution, _ result: Operand
  ) throws -> any Runnable {
    let input = try operand(node.inputs[0])
    let epilogue = settings.epilogue
    let weight = TensorType(plan.graph.shape(node.inputs[1]), packer.stored(node.inputs[1]))
    let weights = try packer.pack(
      node.inputs[1], tiles.keepsWeights ? .tiles : .dense(weight.element), for: value)
    let bias = try epilogue.biasIndex.map { try packer.pack(node.inputs[$0], .vector, for: value) }
    let residual = epilogue.residual ? try operand(node.inputs[node.inputs.count - 1]) : nil
    let (x, y) = (input.type.shape, node.type.shape)
    var parameters = tc_winograd()
    parameters.source = UnsafeRawPointer(input.pointer)
    parameters.weights = tiles.keepsWeights ? Self.floats(weights) : nil
    parameters.bias = Self.floats(bias)
    parameters.residual = residual.map { UnsafeRawPointer($0.pointer) }
    parameters.destination = result.pointer
    (parameters.height, parameters.width, parameters.channels) = (x[0], x[1], x[2])
    (parameters.result_height, parameters.result_width, parameters.outputs) = (y[0], y[1], y[2])
    (parameters.top, parameters.left) = (settings.padding.top, settings.padding.left)
    parameters.residual_stride = residual?.rowStride ?? 0
    parameters.destination_stride = result.rowStride
    parameters.tiles_across = (y[1] + 3) / 4
    parameters.tiles = TiledConvolution.tiles(of: y)
    parameters.element = Self.code(input.type.element)
    parameters.activation = epilogue.activation.map(Self.function) ?? tc_identity
    let work = WinogradWork(parameters, keep: [weights] + (bias.map { [$0] } ?? []))
    let matrices = work.scratchFloats(threads: threads)
    let transformed = tiles.keepsWeights ? 0 : weight.count / 9 * 36
    scratch.request((matrices + transformed) * 4) { [unowned work] memory in
      let floats = memory.assumingMemoryBound(to: Float.self)
      work.parameters.pointee.scratch = floats
      guard transformed > 0 else { return }
      work.parameters.pointee.weights = UnsafePointer(floats + matrices)
      work.transform = Self.tiles(
        of: UnsafeRawPointer(weights.pointer), weight, into: floats + matrices)
    }
    return work
  }

  /// Transforms weights `[K, 3, 3, C]`.
  static func tiles(
    of weights: UnsafeRawPointer, _ type: TensorType, into memory: UnsafeMutableRawPointer
  ) -> any Runnable {
    let (outputs, channels) = (type.shape[0], type.shape[3])
    let parameters = tc_winograd_filters(
      source: weights, destination: memory.assumingMemoryBound(to: Float.self), channels: channels,
      outputs: outputs, element: code(type.element))
    return KernelWork(
      tc_kernel(tc_kernel_winograd_filters), parameters, count: outputs / 16 * (channels / 16), grain: 1)
  }
}

/// A convolution in tiles. Where a few tiles' matrices fit a core's own cache a thread does all of the work on them;
/// else all threads go through many tiles together, so that each weight is used often while it is there.
final class WinogradWork: Runnable {
  let parameters: UnsafeMutablePointer<tc_winograd>
  /// Makes the weights of every frame, where they are not kept.
  var transform: (any Runnable)?
  private let isShared: Bool
  private let keep: [Buffer]

  /// Two rounds of the kernel's six rows.
  private static let fewTiles = 12
  private static let manyTiles = 512
  private static let cacheByteCount = 1 << 20

  init(_ values: tc_winograd, keep: [Buffer]) {
    self.keep = keep
    parameters = .allocate(capacity: 1)
    parameters.initialize(to: values)
    parameters.pointee.block = Self.fewTiles
    isShared = tc_winograd_scratch(parameters) * 4 > Self.cacheByteCount
    if isShared { parameters.pointee.block = min(values.tiles, Self.manyTiles) }
  }

  var implementation: String { "winograd" }

  /// Of its products, two for each multiply-add.
  var operations: Double {
    let products = parameters.pointee
    return 2 * 36 * Double(products.tiles * products.channels * products.outputs)
  }

  func scratchFloats(threads: Int) -> Int { tc_winograd_scratch(parameters) * (isShared ? 1 : threads) }

  func run() throws {
    try transform?.run()
    withExtendedLifetime(self) {
      let (tiles, block) = (parameters.pointee.tiles, parameters.pointee.block)
      guard isShared else {
        tc_parallel_in_turns(tc_kernel(tc_kernel_winograd_block), parameters, (tiles + block - 1) / block)
        return
      }
      for first in stride(from: 0, to: tiles, by: block) {
        parameters.pointee.first = first
        let count = min(block, tiles - first)
        tc_parallel(tc_kernel(tc_kernel_winograd_in), parameters, count, 4)
        tc_parallel_in_turns(tc_kernel(tc_kernel_winograd_multiply), parameters, 36)
        tc_parallel(tc_kernel(tc_kernel_winograd_out), parameters, count, 4)
      }
    }
  }

  deinit { parameters.deallocate() }
}
