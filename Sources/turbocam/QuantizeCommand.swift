import CPUBackend
import Diffusion
import Filter
import Frames
import Glibc
import Inputs

/// `turbocam quantize`: a model folder with a UNet of eight bits.
struct QuantizeCommand: Subcommand {
  static let name = "quantize"
  static let summary = "Make a model with eight-bit weights, faster on CPUs with VNNI."
  static let synopsis = "MODEL --frames FILE --output DIR [OPTIONS]"
  private static let sharedOptions = ["vae", "strength", "steps", "seed", "size"]
  static let options =
    [
      Option("frames", "FILE", "a clip or picture of what the model will see"),
      Option("output", "DIR", "the folder to make"),
      Option("pictures", "N", "pictures to look at, 1 to 1000 (default 16)"),
      Option(
        "prompt", "TEXT",
        """
        what pictures will look like; more than one are taken in turns (default: \
        \(defaultPrompts.map { "\"\($0)\"" }.joined(separator: ", ")))
        """
      ),
    ] + ModelOptions.options.filter { sharedOptions.contains($0.name) }
  static let notes = """
    Half of the pictures tell how large each channel becomes; the other half are repainted by both models,
    and how much they differ is printed and written to DIR/unet/config.json.
    """
  static let defaultPrompts = ["", "ink drawing", "oil painting", "neon lights", "watercolour"]
  /// Neighbouring frames of a clip tell hardly more than one of them.
  private static let spacing = 6

  private let model, output: String
  private let frames: InputSpec
  private let pictures: Int
  private let prompts: [String]
  private let options: ModelOptions

  init(_ arguments: Arguments) throws {
    try arguments.expectOperands(["MODEL"])
    model = arguments.operands[0]
    guard let frames = arguments.last("frames") else { throw arguments.fail("--frames FILE is missing") }
    guard let output = arguments.last("output"), !output.isEmpty else {
      throw arguments.fail("--output DIR is missing")
    }
    (self.frames, self.output) = (try InputSpec(frames), output)
    pictures = try arguments.integer("pictures", in: 1...1000) ?? 16
    let named = arguments.all("prompt")
    prompts = named.isEmpty ? Self.defaultPrompts : named
    options = try ModelOptions(arguments)
  }

  func run() throws -> Int32 {
    let folder = try ModelFolder.find(model, autoencoder: options.autoencoder)
    let settings = try options.settings(native: folder.nativePicture)
    let samples = try readSamples(settings.size)
    let backend = try CPUBackend(overlap: .never)
    guard backend.multipliesInt8 else {
      throw DiffusionError(
        .unavailable, "this processor does not multiply i8 itself (VNNI), so nothing would be gained",
        remedy: "Run turbocam quantize on the machine that is to run the model.")
    }
    // An empty folder is what an interruption leaves: the same command can be tried again.
    rmdir(output)
    let made = try QuantizedFolder(folder, path: output)
    defer { rmdir(output) }
    var record = record(folder, settings, samples.calibration.count)
    let before = try calibrate(folder, backend, settings, samples) { calibration in
      try made.write(calibration, record) { bar("rounding", $0) }
    }
    let loss = try compare(try ModelFolder(path: output), backend, settings, samples.heldOut, with: before)
    (record.psnr, record.ssim) = (loss.psnr, loss.ssim)
    try made.write(record)
    try tell(loss, folder)
    return 0
  }

  // MARK: Pictures

  /// Pictures that the model is calibrated with, and others to see what is lost; RGB.
  private struct Samples { var calibration, heldOut: [[UInt8]] }

  private func readSamples(_ size: PictureSize) throws -> Samples {
    let format = PictureFormat(.rgb24, width: size.width, height: size.height)
    let converter = try PictureConverter(to: format, fit: .cover, mirror: false)
    var (all, spaced): ([[UInt8]], [[UInt8]]) = ([], [])
    let reader = try PictureReader(frames)
    defer { reader.close() }
    var count = 0
    while spaced.count < pictures, let frame = try reader.next() {
      let isSpaced = count % Self.spacing == 0
      count += 1
      guard all.count < pictures || isSpaced else { continue }
      var bytes = [UInt8](repeating: 0, count: size.width * size.height * 3)
      try bytes.withUnsafeMutableBytes { try converter.convert(frame.bytes, frame.format, into: $0) }
      if all.count < pictures { all.append(bytes) }
      if isSpaced { spaced.append(bytes) }
    }
    // A short clip is taken as it is.
    let chosen = spaced.count < pictures ? all : spaced
    guard !chosen.isEmpty else { throw PictureReader.nothing(in: frames) }
    let odd = chosen.indices.filter { $0 % 2 == 1 }.map { chosen[$0] }
    // A single picture has to do for both.
    return Samples(
      calibration: chosen.indices.filter { $0 % 2 == 0 }.map { chosen[$0] },
      heldOut: odd.isEmpty ? chosen : odd)
  }

  // MARK: Steps

  private func shape(_ settings: Settings) -> Pipeline.Options {
    Pipeline.Options(
      width: settings.size.width, height: settings.size.height, steps: settings.steps, posterior: .mean,
      timesteps: .even)
  }

  /// Watches the model at work; gives what it makes of the pictures held out.
  private func calibrate(
    _ folder: ModelFolder, _ backend: CPUBackend, _ settings: Settings, _ samples: Samples,
    _ body: (Calibration) throws -> Void
  ) throws -> [[UInt8]] {
    let calibration = try Calibration(
      model: folder, options: shape(settings), backend: backend, progress: bar)
    for (index, picture) in samples.calibration.enumerated() {
      // Each picture in each style: what is large differs.
      for prompt in prompts {
        _ = try repaint(picture, prompt, settings, calibration.pipeline)
        try calibration.watch()
      }
      bar("watching", Double(index + 1) / Double(samples.calibration.count))
    }
    let before = try repaint(all: samples.heldOut, settings, calibration.pipeline)
    try body(calibration)
    return before
  }

  private func compare(
    _ folder: ModelFolder, _ backend: CPUBackend, _ settings: Settings, _ pictures: [[UInt8]],
    with before: [[UInt8]]
  ) throws -> (psnr: Double, ssim: Double) {
    let pipeline = try Pipeline(model: folder, options: shape(settings), backend: backend, progress: bar)
    let after = try repaint(all: pictures, settings, pipeline)
    Terminal.clearStatus()
    let size = settings.size
    let pairs = zip(before, after)
    let psnr = pairs.reduce(0) { $0 + min(Likeness.psnr($1.0, $1.1), 99) } / Double(before.count)
    let ssim = pairs.reduce(0) {
      $0 + Likeness.ssim($1.0, $1.1, width: size.width, height: size.height)
    }
    return (psnr, ssim / Double(before.count))
  }

  /// Prompts in turns.
  private func repaint(all pictures: [[UInt8]], _ settings: Settings, _ pipeline: Pipeline) throws
    -> [[UInt8]]
  {
    try pictures.enumerated().map { index, picture in
      try repaint(picture, prompts[index % prompts.count], settings, pipeline)
    }
  }

  private func repaint(_ picture: [UInt8], _ prompt: String, _ settings: Settings, _ pipeline: Pipeline)
    throws -> [UInt8]
  {
    _ = try pipeline.apply(settings.pipeline(prompt: prompt))
    try pipeline.withImage { memory in picture.withUnsafeBytes { memory.copyMemory(from: $0) } }
    try pipeline.run()
    return try pipeline.withPicture { Array($0) }
  }

  // MARK: Words

  private func record(_ folder: ModelFolder, _ settings: Settings, _ count: Int) -> QuantizedFolder.Record {
    QuantizedFolder.Record(
      program: "turbocam \(Program.version)", source: folder.name, pictures: count,
      width: settings.size.width, height: settings.size.height, steps: settings.steps,
      strength: settings.strength, prompts: prompts)
  }

  private func bar(_ text: String, _ fraction: Double) {
    Terminal.status(Terminal.bar(text, fraction))
  }

  private func tell(_ loss: (psnr: Double, ssim: Double), _ folder: ModelFolder) throws {
    try Terminal.print(
      """
      \(output): \(folder.name) with weights of eight bits in its UNet.
      Against \(folder.name), on pictures that were kept back: PSNR \(fixed(loss.psnr, 1)) dB, \
      structural similarity \(fixed(loss.ssim, 3)).
      Run it: turbocam --model '\(output)'
      """)
  }
}
