import Diffusion
import Filter
import Frames
import Inputs
import Outputs

/// What `image` and `text` share: one picture in, one out.
enum OnePicture {
  /// `--output FILE`, which must be a picture.
  static func output(_ arguments: Arguments) throws(UsageError) -> String {
    guard let path = arguments.last("output") else { throw arguments.fail("--output FILE is missing") }
    guard ["png", "jpg", "jpeg"].contains(Sink.ending(of: path)), Place.isFile(path) else {
      throw arguments.fail("--output must be a file that ends in .png or .jpg, not '\(path)'")
    }
    return path
  }

  /// Refuses a folder that is not there before any work starts.
  static func check(_ path: String) throws { try Sink.make(path).open() }

  /// The first picture of a file, camera or stream.
  static func first(of spec: InputSpec) throws -> Frame {
    let reader = try PictureReader(spec)
    defer { reader.close() }
    guard let frame = try reader.next() else { throw PictureReader.nothing(in: spec) }
    return frame
  }

  static func painter(
    _ folder: ModelFolder, _ model: ModelOptions, _ settings: Settings, _ task: Pipeline.Task,
    _ posterior: Pipeline.Posterior
  ) throws -> PipelinePainter {
    let backend = try model.chooseDevice(for: folder).backend
    let maker = PipelineMaker(folder, backend, task, posterior)
    let pipeline = try maker.pipeline(settings.shape) { text, fraction in
      Terminal.status(Terminal.bar(text, fraction))
    }
    Terminal.clearStatus()
    let painter = PipelinePainter(pipeline, shape: settings.shape)
    for warning in try painter.apply(settings) { Terminal.say("turbocam: \(warning)") }
    return painter
  }

  static func write(_ painter: PipelinePainter, to path: String) throws {
    let size = painter.shape.size
    try painter.withPicture {
      try Sink.writePicture($0, width: size.width, height: size.height, to: path)
    }
  }
}
