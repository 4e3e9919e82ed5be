import Base
import Diffusion
import Filter
import Frames
import Inputs
import Outputs

/// `turbocam run`: from an input through a model to outputs, until the input ends or a signal comes.
struct RunCommand: Subcommand {
  static let name = "run"
  static let summary = "Repaint a camera or a clip, live."
  static let synopsis = "[--input SRC] [--output SINK]... [OPTIONS]"
  static let options =
    [
      Option(
        "input", "SRC",
        """
        /dev/videoN, 'camera' (the first that captures, default), a picture or video file, an rtsp://, \
        http:// or srt:// address, or 'test' (a moving pattern)
        """
      ),
      Option("loop", nil, "repeat a file"),
      Option(
        "output", "SINK",
        """
        any number: /dev/videoN (a v4l2loopback device), http://HOST:PORT (default http://127.0.0.1:8080), \
        a file (.mp4 .mkv .mjpeg .jpg .png), or '-' (MJPEG on standard output)
        """
      ),
    ] + ModelOptions.options(of: [ModelOptions.embedded, "'none' (pictures pass unchanged)"]) + [
      Option("fps", "F", "frames a second wanted from the input"),
      Option("frames", "N", "end after N pictures have gone out"),
      Option(
        "latency", nil,
        """
        one frame at a time; without it a small model works on two at once where that clearly brings more \
        of them, each a little older
        """
      ),
      Option("fit", "cover|contain", "fill the picture, or show all of the input (default cover)"),
      Option(
        "camera-size", "WxH",
        "size of a virtual camera (default 1280x720); browsers take 640x480, 1280x720 and 1920x1080"),
      Option(
        "quality", "N", "of JPEGs in streams, .mjpeg and .jpg, 1 to 100 (default 85, of .jpg files 92)"),
      Option("mirror", nil, "left becomes right, as in a mirror"),
      Option("compare", nil, "the input to the left of the repainted picture"),
      Option(
        "steady", "S",
        """
        0 to \(Settings.steadyRange.upperBound): how much of the camera's noise is averaged away where the \
        picture stands still, so that strokes flicker less (default \(Settings.usualSteadiness))
        """
      ),
      Option(
        "still", "L",
        """
        0 to \(Int(Settings.stillRange.upperBound)) of 255 levels: a picture of which no part changed by \
        so much since the last painted is not painted again (default \(Int(Settings.usualStillness))); 0 \
        paints every one
        """
      ),
      Option(
        "token", "SECRET",
        """
        what HTTP requests must bring; needed for other addresses than this machine's own (default: the \
        environment's TURBOCAM_TOKEN, which other users cannot read)
        """
      ),
      Option("quiet", nil, "only warnings and errors on standard error"),
      Option("json", nil, "one JSON object a second on standard output"),
    ]
  static var notes: String { ModelOptions.stylesNote }

  private let input: InputSpec?
  private let outputs: [String]
  private let model: ModelOptions
  private let fps: Double?
  private let frames: Int?
  private let prefersLatency: Bool
  private let fit: Fit
  private let mirror: Bool
  private let steady, still: Double?
  private let compare: Bool
  private let cameraSize: PictureSize?
  private let quality: Int?
  private let loop: Bool
  private let token: String?
  private let quiet: Bool
  private let json: Bool

  init(_ arguments: Arguments) throws {
    if let operand = arguments.operands.first { throw Self.unexpected(operand, arguments) }
    model = try ModelOptions(arguments)
    input = try arguments.last("input").map(InputSpec.init)
    let sinks = arguments.all("output")
    outputs = sinks.isEmpty ? ["http://127.0.0.1:8080"] : sinks
    fps = try arguments.positive("fps", atMost: 1000)
    frames = try arguments.integer("frames", in: 1...1_000_000_000)
    prefersLatency = arguments.has("latency")
    fit = try arguments.fit()
    mirror = arguments.has("mirror")
    compare = arguments.has("compare")
    steady = try arguments.number("steady", in: Settings.steadyRange)
    still = try arguments.number("still", in: Settings.stillRange)
    cameraSize = try arguments.size("camera-size", in: SinkOptions.cameraSides, multipleOf: 2)
    quality = try arguments.integer("quality", in: 1...100)
    loop = arguments.has("loop")
    token = arguments.last("token") ?? FileSystem.environment("TURBOCAM_TOKEN")
    quiet = arguments.has("quiet")
    json = arguments.has("json")
    guard token != "" else {
      throw arguments.fail("--token is empty; take a long one: \(SinkOptions.tokenCommand)")
    }
    guard !json || !outputs.contains("-") else {
      throw arguments.fail("--json and --output - both want standard output")
    }
    try Place.checkApart(input: input, outputs, arguments)
    try checkUse(arguments)
  }

  /// Refuses options that nothing here would follow, and outputs that cannot be, before anything is looked for.
  private func checkUse(_ arguments: Arguments) throws {
    let endings = Set(outputs.map(Sink.ending))
    let isServed = outputs.contains { addressScheme(of: $0) == "http" }
    if loop, input?.mayEnd != true {
      throw arguments.fail("--loop repeats a file: --input FILE")
    }
    if cameraSize != nil, !outputs.contains(where: isDevice) {
      throw arguments.fail("--camera-size is for a virtual camera: --output /dev/videoN")
    }
    if quality != nil, !isServed, !outputs.contains("-"), endings.isDisjoint(with: ["mjpeg", "jpg", "jpeg"]) {
      throw arguments.fail("--quality is of JPEGs, and there is no output of them")
    }
    if arguments.has("token"), !isServed {
      throw arguments.fail("--token is what a web server asks for: --output http://HOST:PORT")
    }
    for output in outputs { _ = try Sink.make(output) }
  }

  /// The words that people try first.
  private static func unexpected(_ operand: String, _ arguments: Arguments) -> UsageError {
    if Program.subcommands.contains(where: { $0.name == operand }) {
      return arguments.fail("'\(operand)' is a command, which comes first: turbocam \(operand) [OPTIONS]")
    }
    let advice = operand.hasPrefix("-") ? "" : "; did you mean --input \(operand)?"
    return arguments.fail("unexpected argument '\(operand)'" + advice)
  }

  func run() throws -> Int32 {
    // Before libraries start threads of their own, to which a signal would be the end.
    let signals = Signals()
    let (spec, loops) = chooseSource()
    // A file turned into files: no frame is lost, and it takes the time it takes.
    let takesEvery = spec.isFile && !loops && outputs.allSatisfy(Place.isFile)
    let setup = try model.isNone ? .none(settings(nil)) : filterSetup(model.open())
    let input = try Source.make(spec, options: sourceOptions(setup, loops, takesEvery: takesEvery))
    let state = RunState(setup, input: input, takesEvery: takesEvery)
    let sinks = try outputs.map {
      try Sink.make($0, options: sinkOptions(state, takesEvery ? spec.path : nil))
    }
    let spine = Spine(input, setup.stage, sinks, state)
    let reporter = Reporter(state, isQuiet: quiet, json: json)
    defer { reporter.end() }
    return try spine.run(limit: frames, inputWaits: spec.isFile, signals, reporter)
  }

  /// What was asked for, else a camera, else the demo clip over and over.
  private func chooseSource() -> (spec: InputSpec, loops: Bool) {
    if let input { return (input, loop) }
    let survey = Cameras.survey(except: Place.devices(outputs))
    guard let absence = survey.absence, let clip = Resources.demoClip else { return (.firstCamera, false) }
    Terminal.say(
      absence.kind == .missing
        ? "turbocam: no camera found: playing the demo clip (turbocam doctor tells more)"
        : "turbocam: playing the demo clip in place of a camera: \(absence)")
    return (.file(clip), true)
  }

  private func settings(_ folder: ModelFolder?) throws -> Settings {
    let native = folder.map(native) ?? PictureSize(width: 640, height: 480)
    return try model.settings(
      native: native, fit: fit, mirror: mirror, steady: steady, still: still, compare: compare)
  }

  /// The model's own size; for a virtual camera in its shape, or a square would stand between two bars.
  private func native(of folder: ModelFolder) -> PictureSize {
    guard outputs.contains(where: isDevice) else { return folder.nativePicture }
    let usual = SinkOptions()
    return folder.nativePicture(
      inShape: cameraSize ?? PictureSize(width: usual.width, height: usual.height))
  }

  private func filterSetup(_ folder: ModelFolder) throws -> FilterSetup {
    let choice = try model.chooseDevice(for: folder)
    let box = SettingsBox(try settings(folder))
    let loader = PainterLoader(PipelineMaker.live(folder, choice.backend))
    return FilterSetup(
      stage: RepaintStage(box, loader, prefersLatency: prefersLatency), settings: box, loader: loader,
      model: folder.name,
      device: choice.backend.description, note: choice.note, styles: folder.styles?.all ?? [])
  }

  private func sourceOptions(_ setup: FilterSetup, _ loops: Bool, takesEvery: Bool) -> SourceOptions {
    let size = model.isNone ? model.size : setup.settings.current.settings.size
    return SourceOptions(
      loop: loops, fps: fps, width: size?.width, height: size?.height, realTime: !takesEvery,
      wantsJPEG: model.isNone, buffers: 3 * outputs.count + 9, avoiding: Place.devices(outputs))
  }

  /// `film`: the file that is turned into others, no frame of which is lost.
  private func sinkOptions(_ state: RunState, _ film: String?) -> SinkOptions {
    var options = SinkOptions()
    options.policy = film == nil ? .newest : .every
    // Pictures of another rate than the film's are still of its time.
    options.sound = film
    options.tell = state.tell
    options.token = token
    options.control = state
    options.statistics = state.statistics
    options.counters = state.counters
    options.quality = quality
    if let cameraSize { (options.width, options.height) = (cameraSize.width, cameraSize.height) }
    return options
  }
}
