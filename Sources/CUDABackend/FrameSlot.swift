import CCUDA
import Engine

/// An input of frames or an output: its memory where kernels read and write it.
struct FramePort {
  var name: String
  var operand: Operand
  var byteCount: Int { operand.type.byteCount }
}

/// What one frame under way has for itself, so that another can be under way beside it: memory of the host
/// that the GPU copies from and to, the same on the GPU, and the frame's graph between the two. While one
/// frame is computed the next one's inputs go up and the last one's outputs come down.
final class FrameSlot {
  /// Both sides of a port.
  private struct Staging {
    var port: FramePort
    var host: PinnedBuffer
    var device: DeviceBuffer

    init(_ context: GPUContext, _ port: FramePort) throws {
      self.port = port
      host = try PinnedBuffer(context, port.byteCount)
      device = try DeviceBuffer(context, port.byteCount)
    }
  }

  private let inputs: [Staging]
  private let outputs: [Staging]
  private let streams: FrameStreams
  private let uploaded, computed, downloaded: GPUEvent
  private let graph: CapturedGraph

  /// Captures the frame: `body` puts its kernels into the computing stream.
  init(_ streams: FrameStreams, inputs: [FramePort], outputs: [FramePort], _ body: () throws -> Void) throws {
    self.streams = streams
    let context = streams.compute.context
    let (ins, outs) = (
      try inputs.map { try Staging(context, $0) }, try outputs.map { try Staging(context, $0) }
    )
    (self.inputs, self.outputs) = (ins, outs)
    (uploaded, computed, downloaded) = (
      try GPUEvent(context), try GPUEvent(context), try GPUEvent(context, for: .waking)
    )
    graph = try CapturedGraph(streams.compute) {
      for input in ins {
        try streams.compute.copy(input.device.address, to: input.port.operand.address, input.port.byteCount)
      }
      try body()
      for output in outs {
        try streams.compute.copy(
          output.port.operand.address, to: output.device.address, output.port.byteCount)
      }
    }
  }

  /// The host's memory of an input, nil where it has none of this name.
  func input(_ name: String) -> UnsafeMutableRawBufferPointer? { Self.find(name, inputs) }
  func output(_ name: String) -> UnsafeMutableRawBufferPointer? { Self.find(name, outputs) }

  private static func find(_ name: String, _ all: [Staging]) -> UnsafeMutableRawBufferPointer? {
    for staging in all where staging.port.name == name {
      return UnsafeMutableRawBufferPointer(start: staging.host.pointer, count: staging.port.byteCount)
    }
    return nil
  }

  /// Puts the frame into the streams.
  func start() throws {
    for input in inputs {
      try streams.upload.upload(input.host.pointer, to: input.device.address, input.port.byteCount)
    }
    try streams.upload.mark(uploaded)
    try streams.compute.wait(for: uploaded)
    try graph.run()
    try streams.compute.mark(computed)
    try streams.download.wait(for: computed)
    for output in outputs {
      try streams.download.download(output.device.address, to: output.host.pointer, output.port.byteCount)
    }
    try streams.download.mark(downloaded)
  }

  /// Waits until the frame's outputs are there.
  func finish() throws { try downloaded.synchronize("a frame") }

  /// Whether kernels of the frame begin before the one before them has ended.
  var overlapsLaunches: Bool { graph.overlapsLaunches }

  /// The graph alone, for clocks.
  func replay() throws { try graph.run() }
}

/// Copies go beside the work.
struct FrameStreams {
  let upload, compute, download: GPUStream

  init(_ context: GPUContext) throws {
    (upload, compute, download) = (
      try GPUStream(context), try GPUStream(context), try GPUStream(context)
    )
  }
}
