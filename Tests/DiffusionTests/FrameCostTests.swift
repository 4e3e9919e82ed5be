import AllocationCounter
import CPUBackend
import Diffusion
import Engine
import Testing

/// What a frame must not do on the processor, of every kind of model: SDXL and SD, both autoencoders, odd sizes.
struct FrameCostTests {
  private static let models = Parity.pipelines + ["spark"] + (CPUBackend.hasInt8 ? ["spark int8"] : [])

  private func pipeline(_ name: String, _ backend: CPUBackend) throws -> Pipeline {
    let model =
      try name == "spark int8" ? QuantizedModel("spark").model : QuantizedModel.open(name)
    let side = max(64, 8 * model.autoencoder.encoderFactor)
    let pipeline = try Pipeline(
      model: model, options: Pipeline.Options(width: side, height: side, steps: 1), backend: backend)
    _ = try pipeline.apply(PipelineSettings(prompt: "ink", strength: 0.5, seed: 1))
    try pipeline.withImage { bytes in
      for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index) }
    }
    return pipeline
  }

  /// Weights are packed when the model is opened, and what is made of the prompt when it changes.
  @Test(arguments: models) func noFrameReorders(name: String) throws {
    for precision in [CPUBackend.Precision.f32, .automatic] {
      let ops = try pipeline(name, try CPUBackend(precision: precision)).profile()
      let frame = ops.filter { $0.cadence == .frame }
      #expect(frame.count > 20)
      for op in frame {
        #expect(!op.label.hasPrefix("pack ") && !op.label.contains("reorder"), "\(op.label)")
      }
    }
  }

  /// On any thread: in a process of its own.
  @Test func noFrameAllocates() async {
    await #expect(processExitsWith: .success) {
      for name in FrameCostTests.models {
        let pipeline = try FrameCostTests().pipeline(name, try CPUBackend())
        for _ in 0..<3 { try pipeline.run() }
        allocations_begin()
        for _ in 0..<10 { try pipeline.run() }
        let counts = allocations_end()
        #expect(counts.own == 0, "\(name)")
        #expect(counts.kept == 0, "\(name)")
      }
    }
  }
}
