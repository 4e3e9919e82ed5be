import Diffusion
import Engine
import Filter

/// Makes pipelines of one model.
///
/// One thread at a time compiles: the loader's. A backend may be asked for its description by any.
final class PipelineMaker: PainterMaker, @unchecked Sendable {
  private let folder: ModelFolder
  private let backend: any Backend
  private let task: Pipeline.Task
  private let posterior: Pipeline.Posterior
  private let timesteps: Timesteps

  /// Pictures as diffusers paints them.
  convenience init(
    _ folder: ModelFolder, _ backend: any Backend, _ task: Pipeline.Task, _ posterior: Pipeline.Posterior
  ) {
    self.init(folder, backend, task, posterior, .diffusers)
  }

  /// Frames of a video, which should not flicker and should follow each change of the strength.
  static func live(_ folder: ModelFolder, _ backend: any Backend) -> PipelineMaker {
    PipelineMaker(folder, backend, .imageToImage, .mean, .even)
  }

  private init(
    _ folder: ModelFolder, _ backend: any Backend, _ task: Pipeline.Task, _ posterior: Pipeline.Posterior,
    _ timesteps: Timesteps
  ) {
    self.folder = folder
    self.backend = backend
    self.task = task
    self.posterior = posterior
    self.timesteps = timesteps
  }

  func pipeline(_ shape: PainterShape, progress: (String, Double) -> Void) throws -> Pipeline {
    try Pipeline(
      model: folder,
      options: Pipeline.Options(
        width: shape.size.width, height: shape.size.height, steps: shape.steps, task: task,
        posterior: posterior, timesteps: timesteps),
      backend: backend, progress: progress)
  }

  func make(_ shape: PainterShape, progress: (String, Double) -> Void) throws -> any Painter {
    PipelinePainter(try pipeline(shape, progress: progress), shape: shape)
  }
}
