import Diffusion
import Engine
import Frames

/// A diffusion pipeline as the filter's painter.
public final class PipelinePainter: Painter {
  public let shape: PainterShape
  private let pipeline: Pipeline

  public init(_ pipeline: Pipeline, shape: PainterShape) {
    self.pipeline = pipeline
    self.shape = shape
  }

  public func apply(_ settings: Settings) throws -> [String] {
    try pipeline.apply(settings.pipeline())
  }
  public func withImage(_ body: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
    try pipeline.withImage(body)
  }
  public func run() throws { try pipeline.run() }
  public var depth: Int { pipeline.depth }
  public func start() throws { try pipeline.start() }
  public func finish() throws { try pipeline.finish() }
  public func withPicture(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    try pipeline.withPicture(body)
  }
}

extension Settings {
  /// What a pipeline takes of them; `prompt`: another than theirs.
  public func pipeline(prompt: String? = nil) -> PipelineSettings {
    PipelineSettings(prompt: prompt ?? self.prompt, strength: strength, seed: Int(seed))
  }
}
