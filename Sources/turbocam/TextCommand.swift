import Filter

/// `turbocam text`: a picture from noise and a prompt.
struct TextCommand: Subcommand {
  static let name = "text"
  static let summary = "Paint one picture from a prompt alone."
  static let synopsis = "--model DIR|FILE|NAME --output FILE [OPTIONS]"
  static let options =
    [Option("output", "FILE", "a .png or .jpg to write")]
    + ModelOptions.options(of: []).filter { $0.name != "strength" }
  static let notes =
    """
    With the same seed this gives the picture that diffusers gives on the CPU in f32 for a picture of that size,
    without guidance; near it where computing in bf16 or f16 is quicker here and so is done.
    """

  private let output: String
  private let model: ModelOptions

  init(_ arguments: Arguments) throws {
    try arguments.expectOperands([])
    output = try OnePicture.output(arguments)
    model = try ModelOptions(arguments)
    guard !model.isNone else { throw arguments.fail("--model none paints nothing") }
    guard model.model != ModelOptions.defaultModel else {
      throw arguments.fail(
        "\(ModelOptions.defaultModel), the embedded model, repaints pictures and makes none from words alone: name another with --model, such as stabilityai/sdxl-turbo"
      )
    }
  }

  func run() throws -> Int32 {
    let folder = try model.open()
    // From noise: strength 1.
    let settings = try model.settings(native: folder.nativePicture, strength: 1)
    try OnePicture.check(output)
    let painter = try OnePicture.painter(folder, model, settings, .textToImage, .sample)
    try painter.run()
    try OnePicture.write(painter, to: output)
    return 0
  }
}
