import Engine

/// A model compiled for one size and number of steps: a picture (or none) in, a picture out.
///
/// Settings can change between frames at no cost but computing anew what depends on them. Not for two threads
/// at once.
public final class Pipeline {
  public enum Task: Sendable { case imageToImage, textToImage }

  /// What an AutoencoderKL makes of a picture: a random latent about the mean, as diffusers does, or the mean
  /// itself, which does not flicker from frame to frame.
  public enum Posterior: Sendable { case sample, mean }

  public struct Options: Sendable {
    /// Pixels; multiples of the autoencoder's factor (8 for most models).
    public var width, height: Int
    /// Evaluations of the UNet, 1 to 50.
    public var steps: Int
    public var task: Task
    public var posterior: Posterior
    public var timesteps: Timesteps
    /// nil: what the backend prefers.
    public var element: ElementType?

    public init(
      width: Int, height: Int, steps: Int = 1, task: Task = .imageToImage, posterior: Posterior = .sample,
      timesteps: Timesteps = .diffusers, element: ElementType? = nil
    ) {
      self.width = width
      self.height = height
      self.steps = steps
      self.task = task
      self.posterior = posterior
      self.timesteps = timesteps
      self.element = element
    }
  }

  public let model: ModelFolder
  public let options: Options
  private let latentShape: [Int]
  private let executable: any Executable
  private var settings: PipelineSettings?
  /// What people are warned of: by the prompt, and by the strength.
  private var ofPrompt: [String] = []
  private var ofSchedule: String?
  /// The start from text; an input of the frame, so written before every one.
  private var firstNoise: [Float] = []

  /// Writes the model's graph and compiles it. `progress` is told what is going on, and 0...1 of it.
  /// Errors: `DiffusionError`, or the backend's.
  public convenience init(
    model: ModelFolder, options: Options, backend: any Backend,
    progress: (String, Double) -> Void = { _, _ in }
  ) throws {
    try self.init(model: model, options: options, backend: backend, progress: progress) { _ in }
  }

  /// `edit` may add to the graph before it is compiled.
  init(
    model: ModelFolder, options: Options, backend: any Backend, progress: (String, Double) -> Void,
    edit: (Graph) -> Void
  ) throws {
    try Self.check(options, model)
    guard backend.multipliesInt8 || !model.isInt8 else {
      throw DiffusionError(
        .unavailable, path: model.path,
        "has weights of eight bits, which do not run on: \(backend.description)",
        remedy: "Take the folder that it was made from; int8 needs a processor with VNNI (--device cpu).")
    }
    self.model = model
    self.options = options
    let writer = PipelineGraph(
      model, options, options.element ?? backend.preferredElement, wide: backend.wideElement)
    try writer.write()
    edit(writer.graph)
    latentShape = writer.latentShape
    executable = try backend.compile(writer.graph, weights: model.weights) {
      switch $0 {
      case .kernels(let done): progress("compiling and timing kernels, once for this machine", done)
      case .weights(let done): progress("loading \(model.name)", done)
      }
    }
  }

  private static func check(_ options: Options, _ model: ModelFolder) throws {
    let factor = model.autoencoder.encoderFactor
    for (name, size) in [("width", options.width), ("height", options.height)] {
      guard (factor...8192).contains(size), size % factor == 0 else {
        throw DiffusionError(
          .usage, "the \(name) \(size) should be a multiple of \(factor) from \(factor) to 8192")
      }
    }
    guard (1...50).contains(options.steps) else {
      throw DiffusionError(.usage, "the number of steps \(options.steps) should be from 1 to 50")
    }
    guard options.task == .imageToImage || !model.wantsAestheticsScore else {
      throw DiffusionError(.usage, "SDXL's refiner repaints pictures, and makes none from text alone")
    }
  }

  // MARK: Settings

  /// Writes what differs from the settings before. Returns warnings for people, such as that a prompt was too
  /// long or has words that the model does not know. Nothing changes when it throws because of the settings themselves.
  public func apply(_ new: PipelineSettings) throws -> [String] {
    guard new.strength > 0, new.strength <= 1 else {
      throw DiffusionError(.usage, "the strength \(new.strength) should be above 0 and at most 1")
    }
    if settings?.prompt != new.prompt { ofPrompt = try writeTokens(new.prompt) }
    if settings?.strength != new.strength { ofSchedule = try writeSchedule(new.strength) }
    if settings?.seed != new.seed { try writeNoise(new.seed) }
    settings = new
    return ofPrompt + [ofSchedule].compactMap(\.self)
  }

  private func writeTokens(_ prompt: String) throws -> [String] {
    var dropped: String?
    for (index, encoder) in model.textEncoders.enumerated() {
      let encoding = encoder.tokenizer.encode(prompt)
      try write(PipelineGraph.Name.tokens(encoder.component), encoding.tokens)
      dropped = dropped ?? encoding.dropped
      if model.isXL, index == model.textEncoders.count - 1 {
        let position = encoder.config.pooledPosition(encoding.tokens)
        try write(PipelineGraph.Name.pooledPosition, [Int32(position)])
      }
    }
    let cut = dropped.map { "the prompt is too long for the model; it does not see: \($0)" }
    return [cut, model.notice(of: prompt)].compactMap(\.self)
  }

  private func writeSchedule(_ strength: Double) throws -> String? {
    let isText = options.task == .textToImage
    let strength = isText ? 1 : strength
    let schedule = Schedule(
      model.scheduler, steps: options.steps, strength: strength, timesteps: options.timesteps)
    let rows = schedule.steps.flatMap { [$0.timestep, $0.inputScale, $0.sample, $0.model, $0.noise] }
    try write(PipelineGraph.Name.steps, rows)
    try write(PipelineGraph.Name.firstSigma, [isText ? schedule.noiseAlone : schedule.sigmas[0]])
    return lateStart(schedule.steps[0].timestep, strength)
  }

  /// Of few steps some spacings leave out what the strength promises; "trailing" never does.
  private func lateStart(_ first: Float, _ strength: Double) -> String? {
    let meant = strength * Double(model.scheduler.trainTimesteps)
    guard Double(first) + 1 < meant / 2 else { return nil }
    let steps = options.steps == 1 ? "one step begins" : "\(options.steps) steps begin"
    let outcome = options.task == .textToImage ? "leaves noise" : "repaints little"
    return
      "this model spaces timesteps by \"\(model.scheduler.spacing.rawValue)\": \(steps) at \(Int(first)), as in diffusers, where the strength means \(Int(meant.rounded())), and \(outcome); more steps begin earlier"
  }

  /// Draws in diffusers' order: the posterior's sample, the start, then each step.
  private func writeNoise(_ seed: Int) throws {
    var generator = TorchGenerator(seed: seed)
    let isImage = options.task == .imageToImage
    if isImage, model.autoencoder.isRandom, options.posterior == .sample {
      try write(PipelineGraph.Name.posteriorNoise, latentNoise(&generator))
    }
    firstNoise = latentNoise(&generator)
    if isImage { try write(PipelineGraph.Name.firstNoise, firstNoise) }
    for step in PipelineGraph.noisySteps(model, steps: options.steps) {
      try write(PipelineGraph.Name.stepNoise(step), latentNoise(&generator))
    }
  }

  /// `torch.randn(1, C, h, w)`, moved to `[h, w, C]`.
  private func latentNoise(_ generator: inout TorchGenerator) -> [Float] {
    let (area, channels) = (latentShape[0] * latentShape[1], latentShape[2])
    let drawn = generator.normals(area * channels)
    return (0..<area * channels).map { drawn[$0 % channels * area + $0 / channels] }
  }

  private func write<T>(_ input: String, _ numbers: [T]) throws {
    try numbers.withUnsafeBytes { try executable.write(input, $0) }
  }

  // MARK: Frames

  /// The memory of the next frame's picture, u8 `[height, width, 3]`, to be filled before `run`.
  /// Image to image only.
  public func withImage<R>(_ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    try executable.withInput(PipelineGraph.Name.image, body)
  }

  /// Repaints one frame. `apply` must have been called once. Allocates nothing, if the backend keeps its word.
  public func run() throws {
    try prepare()
    try executable.run()
  }

  /// How many frames may be under way.
  public var depth: Int { executable.depth }

  /// `run` in two: begins a frame with the picture that was filled in.
  public func start() throws {
    try prepare()
    try executable.start()
  }

  private func prepare() throws {
    guard settings != nil else { throw DiffusionError(.usage, "no settings were applied to the pipeline") }
    if options.task == .textToImage { try write(PipelineGraph.Name.firstNoise, firstNoise) }
  }

  /// Waits for the oldest frame begun; its picture is there until the next `start` or `finish`.
  public func finish() throws { try executable.finish() }

  /// The last frame's picture, u8 `[height, width, 3]`, valid until the next `run`, `start` or `finish`.
  public func withPicture<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    try executable.withOutput(PipelineGraph.Name.picture, body)
  }

  /// Another output of the last frame.
  func withOutput<R>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    try executable.withOutput(name, body)
  }

  public var memory: MemoryUse { executable.memory }

  /// Times of ops, as `Executable.profile` takes them.
  public func profile() throws -> [OpTime] { try executable.profile() }
}
