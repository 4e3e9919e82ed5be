import CKernels
import Engine

extension Lowering {
  func winograd(_ value: Value, _ node: Node, _ settings: Convolution, _ result: Operand) throws
    -> any Runnable
  {
    let (input, weights) = (try operand(node.inputs[0]), try operand(node.inputs[1]))
    let epilogue = settings.epilogue
    let bias = try epilogue.biasIndex.map { try packer.pack(node.inputs[$0], .vector, for: value) }
    let residual = epilogue.residual ? try operand(node.inputs[node.inputs.count - 1]) : nil
    let (x, y) = (input.type.shape, node.type.shape)
    var parameters = tc_winograd()
    parameters.source = UnsafeRawPointer(input.pointer)
    parameters.weights = UnsafePointer(weights.pointer.assumingMemoryBound(to: Float.self))
    parameters.bias = Self.floats(bias)
    parameters.residual = residual.map { UnsafeRawPointer($0.pointer) }
    parameters.destination = result.pointer
    (parameters.height, parameters.width, parameters.channels) = (x[0], x[1], x[2])
    (parameters.result_height, parameters.result_width, parameters.outputs) = (y[0], y[1], y[2])
    (parameters.top, parameters.left) = (settings.padding.top, settings.padding.left)
    parameters.residual_stride = residual?.rowStride ?? 0
    parameters.destination_stride = result.rowStride
    parameters.tiles_across = (y[1] + 3) / 4
    parameters.tiles = parameters.tiles_across * ((y[0] + 3) / 4)
    parameters.element = Self.code(input.type.element)
    parameters.activation = epilogue.activation.map(Self.function) ?? tc_identity
    let work = WinogradWork(parameters, keep: bias.map { [$0] } ?? [])
    scratch.request(work.scratchFloats(threads: threads) * 4) { [unowned work] memory in
      work.parameters.pointee.scratch = memory.assumingMemoryBound(to: Float.self)
    }
    return work
  }
}

/// A convolution in tiles. Where a few tiles' matrices fit a core's own cache a thread does all of the work on them;
/// else all threads go through many tiles together, so that each weight is used often while it is there.
final class WinogradWork: Runnable {
  let parameters: UnsafeMutablePointer<tc_winograd>
  private let isShared: Bool
  private let keep: [Buffer]

  /// Two rounds of the kernel's six rows.
  private static let fewTiles = 12
  private static let manyTiles = 1024
  private static let cacheByteCount = 1 << 20

  init(_ values: tc_winograd, keep: [Buffer]) {
    self.keep = keep
    parameters = .allocate(capacity: 1)
    parameters.initialize(to: values)
    parameters.pointee.block = Self.fewTiles
    isShared = tc_winograd_scratch(parameters) * 4 > Self.cacheByteCount
    if isShared { parameters.pointee.block = min(values.tiles, Self.manyTiles) }
  }

  func scratchFloats(threads: Int) -> Int { tc_winograd_scratch(parameters) * (isShared ? 1 : threads) }

  func run() {
    withExtendedLifetime(self) {
      let (tiles, block) = (parameters.pointee.tiles, parameters.pointee.block)
      guard isShared else {
        tc_parallel(tc_kernel(tc_kernel_winograd_block), parameters, (tiles + block - 1) / block, 1)
        return
      }
      for first in stride(from: 0, to: tiles, by: block) {
        parameters.pointee.first = first
        let count = min(block, tiles - first)
        tc_parallel(tc_kernel(tc_kernel_winograd_in), parameters, count, 4)
        tc_parallel(tc_kernel(tc_kernel_winograd_multiply), parameters, 36, 1)
        tc_parallel(tc_kernel(tc_kernel_winograd_out), parameters, count, 4)
      }
    }
  }

  deinit { parameters.deallocate() }
}
