import Diffusion
import Engine
import Filter
import Frames
import Inputs
import Outputs

/// `turbocam image`: one picture repainted, as diffusers would.
struct ImageCommand: Subcommand {
  static let name = "image"
  static let summary = "Repaint one picture."
  static let synopsis = "INPUT --output FILE [OPTIONS]"
  static let options =
    [Option("output", "FILE", "a .png or .jpg to write")] + ModelOptions.options + [
      Option(
        "posterior", "sample|mean",
        "what of the autoencoder's posterior to start from (default sample, as diffusers does)"),
      Option("fit", "cover|contain", "fill the picture, or show all of the input (default cover)"),
    ]
  static var notes: String {
    [sameSeed, ModelOptions.stylesNote].filter { !$0.isEmpty }.joined(separator: "\n\n")
  }
  private static let sameSeed =
    """
    With the same seed this gives the picture that diffusers gives on the CPU in f32 for a picture of that size,
    without guidance, with the fewest num_inference_steps that are so many steps at that strength;
    near it where computing in bf16 or f16 is quicker here and so is done.
    """

  private let input: InputSpec
  private let output: String
  private let model: ModelOptions
  private let posterior: Pipeline.Posterior
  private let fit: Fit

  init(_ arguments: Arguments) throws {
    try arguments.expectOperands(["INPUT"])
    input = try InputSpec(arguments.operands[0])
    output = try OnePicture.output(arguments)
    model = try ModelOptions(arguments)
    posterior = try arguments.choice("posterior", ["sample", "mean"]) == "mean" ? .mean : .sample
    fit = try arguments.fit()
    try Place.checkApart(input: input, [output], arguments)
    guard !model.isNone else { throw arguments.fail("--model none repaints nothing") }
  }

  func run() throws -> Int32 {
    let folder = try model.open()
    let settings = try model.settings(native: folder.nativePicture, fit: fit)
    try OnePicture.check(output)
    let frame = try OnePicture.first(of: input)
    let painter = try OnePicture.painter(folder, model, settings, .imageToImage, posterior)
    let format = PictureFormat(.rgb24, width: settings.size.width, height: settings.size.height)
    let converter = try PictureConverter(to: format, fit: fit, mirror: false)
    try painter.withImage { try converter.convert(frame.bytes, frame.format, into: $0) }
    try painter.run()
    try OnePicture.write(painter, to: output)
    return 0
  }
}
