import Diffusion
import Filter
import Frames
import Inputs
import Outputs

/// What `image` and `text` share: one picture in, one out.
enum Still {
  /// `--output FILE`, which must be a picture.
  static func output(_ arguments: Arguments) throws(UsageError) -> String {
    guard let path = arguments.last("output") else { throw arguments.fail("--output FILE is missing") }
    let name = path.split(separator: "/").last ?? ""
    let ending = name.split(separator: ".", omittingEmptySubsequences: false).dropFirst().last?.lowercased()
    guard ["png", "jpg", "jpeg"].contains(ending), Place.isFile(path) else {
      throw arguments.fail("--output must end in .png or .jpg, not '\(path)'")
    }
    return path
  }

  /// Opens the file before any work starts, so that a folder that is not there is refused at once.
  static func open(_ path: String) throws -> any Output {
    var options = SinkOptions()
    options.policy = .every
    let sink = try Sink.make(path, options: options)
    try sink.open()
    return sink
  }

  /// The first picture of a file, camera or stream.
  static func first(of spec: String) throws -> Frame {
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

  static func write(_ painter: PipelinePainter, to sink: any Output) throws {
    let (width, height) = (painter.shape.size.width, painter.shape.size.height)
    let byteCount = width * height * 3
    guard let draft = FramePool(count: 1, capacity: byteCount).take() else { return }
    let bytes = draft.bytes
    try painter.withPicture { bytes.copyMemory(from: $0) }
    sink.mailbox.put(
      draft.finish(PictureFormat(.rgb24, width: width, height: height), byteCount: byteCount, sequence: 0))
    sink.mailbox.close()
    try sink.run()
  }
}
