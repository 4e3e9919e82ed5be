import Engine

/// Writes the whole of a frame, from pixels to pixels, as one graph.
struct PipelineGraph {
  /// Names of inputs and outputs.
  enum Name {
    /// u8 `[H, W, 3]`, frame (image to image only).
    static let image = "image"
    /// u8 `[H, W, 3]`.
    static let picture = "picture"
    /// f32 `[h, w, C]`.
    static let posteriorNoise = "noise.posterior"
    static let firstNoise = "noise.first"
    static func stepNoise(_ step: Int) -> String { "noise.\(step)" }
    /// f32 `[1]`: noise level at the start.
    static let firstSigma = "sigma.first"
    /// f32 `[N, 5]`: rows of timestep, input scale, and the factors of sample, model and noise.
    static let steps = "steps"
    /// i32 `[T]` and `[1]`.
    static func tokens(_ encoder: String) -> String { "tokens.\(encoder)" }
    static let pooledPosition = "tokens.pooled_position"
  }

  /// Parts of the model in profiles; text encoders go by their component's name.
  enum Stage {
    static let encode = "encode"
    /// Noise, the UNet, and what its answer does to the latent.
    static let denoise = "denoise"
    static let decode = "decode"
  }

  let graph = Graph()
  let latentShape: [Int]
  private let model: ModelFolder
  private let options: Pipeline.Options
  private let element: ElementType
  /// For what leaves the range of f16.
  private let wide: ElementType

  init(_ model: ModelFolder, _ options: Pipeline.Options, _ element: ElementType, wide: ElementType) {
    self.model = model
    self.options = options
    self.element = element
    // Who asks for f32 gets it everywhere.
    self.wide = element == .f32 ? .f32 : wide
    let factor = model.autoencoder.encoderFactor
    latentShape = [options.height / factor, options.width / factor, model.autoencoder.latentChannels]
  }

  /// Steps that add noise: all but the last of an ancestral sampler, for it ends at σ = 0.
  static func noisySteps(_ model: ModelFolder, steps: Int) -> Range<Int> {
    model.scheduler.kind == .eulerAncestral ? 0..<steps - 1 : 0..<0
  }

  func write(tap: UNet2DConditionModel.Tap = { _, _ in }) throws {
    let vae = try model.scope("vae", graph, model.hasWideAutoencoder ? wide : element)
    let autoencoder = Autoencoder(vae, model.autoencoder)
    let unet = UNet2DConditionModel(try model.scope("unet", graph, element), model.unet)

    var latent = start(autoencoder)
    tap("latents.0", latent)
    let (context, added) = try text()
    let table = graph.input(Name.steps, [options.steps, 5], .f32, .settings)
    for step in 0..<options.steps {
      latent = graph.inStage(Stage.denoise) {
        denoise(latent, step, table, unet: unet, context: context, added: added, tap: tap)
      }
      tap("latents.\(step + 1)", latent)
    }
    graph.inStage(Stage.decode) {
      let picture = autoencoder.decode(autoencoder.unscale(latent, normed: model.isXL))
      graph.output(Name.picture, graph.quantizePixels(picture, scale: 127.5, offset: 127.5))
    }
  }

  // MARK: Start

  /// The picture's latent with noise added, or noise alone.
  private func start(_ autoencoder: Autoencoder) -> Value {
    let sigma = graph.input(Name.firstSigma, [1], .f32, .settings)
    guard options.task == .imageToImage else {
      // A frame's input, although a setting decides it: it keeps the UNet in the program of the frame.
      let noise = graph.input(Name.firstNoise, latentShape, .f32, .frame)
      return graph.inStage(Stage.denoise) { graph.multiply(noise, sigma) }
    }
    let pixels = graph.input(Name.image, [options.height, options.width, 3], .u8, .frame)
    let latent = graph.inStage(Stage.encode) {
      let encoded = autoencoder.encode(graph.affine(pixels, scale: 2 / 255, offset: -1, element: .f32))
      return autoencoder.scale(
        autoencoder.latent(encoded, noise: posteriorNoise()), normed: model.isXL)
    }
    let noise = graph.input(Name.firstNoise, latentShape, .f32, .settings)
    return graph.inStage(Stage.denoise) { graph.add(latent, graph.multiply(noise, sigma)) }
  }

  private func posteriorNoise() -> Value? {
    guard model.autoencoder.isRandom, options.posterior == .sample else { return nil }
    return graph.input(Name.posteriorNoise, latentShape, .f32, .settings)
  }

  // MARK: Text

  private func text() throws -> (context: Value, added: UNet2DConditionModel.Added?) {
    let encoders = try model.textEncoders.map { encoder in
      let length = encoder.tokenizer.length
      return (
        component: encoder.component,
        model: CLIPTextModel(try model.scope(encoder.component, graph, element), encoder.config),
        tokens: graph.input(Name.tokens(encoder.component), [length], .i32, .settings)
      )
    }
    guard model.isXL, let last = encoders.last else {
      let encoder = encoders[0]
      return (graph.inStage(encoder.component) { encoder.model.lastState(encoder.tokens) }, nil)
    }
    let states = encoders.map { encoder in
      graph.inStage(encoder.component) { encoder.model.penultimateState(encoder.tokens) }
    }
    let position = graph.input(Name.pooledPosition, [1], .i32, .settings)
    let pooled = graph.inStage(last.component) { last.model.pooled(last.tokens, position: position) }
    let context = graph.inStage(Stage.denoise) { graph.concat(states, axis: 1) }
    return (context, UNet2DConditionModel.Added(textEmbeds: pooled, timeIDs: timeIDs()))
  }

  /// SDXL's sizes: of the original, of what was cut off at top and left, of the target; for the refiner the
  /// aesthetics score that diffusers takes by default in place of the target.
  private func timeIDs() -> Value {
    let size = [Float(options.height), Float(options.width)]
    let numbers = size + [0, 0] + (model.wantsAestheticsScore ? [6] : size)
    return graph.constant(numbers, [numbers.count])
  }

  // MARK: Steps

  /// x' = a·x + b·model(c·x, t) + u·n, see `Schedule`.
  private func denoise(
    _ latent: Value, _ step: Int, _ table: Value, unet: UNet2DConditionModel, context: Value,
    added: UNet2DConditionModel.Added?, tap: UNet2DConditionModel.Tap
  ) -> Value {
    let row = graph.slice(table, axis: 0, start: step, count: 1)
    func number(_ column: Int) -> Value {
      graph.reshape(graph.slice(row, axis: 1, start: column, count: 1), [1])
    }
    let (timestep, inputScale, sample, answer) = (number(0), number(1), number(2), number(3))
    let predicted = unet(
      graph.multiply(latent, inputScale), timestep: timestep, context: context, added: added,
      tap: { tap("step.\(step).\($0)", $1) })
    let kept = model.scheduler.prediction == .epsilon ? latent : graph.multiply(latent, sample)
    let next = graph.add(kept, graph.multiply(graph.cast(predicted, .f32), answer))
    guard Self.noisySteps(model, steps: options.steps).contains(step) else { return next }
    let noise = graph.input(Name.stepNoise(step), latentShape, .f32, .settings)
    return graph.add(next, graph.multiply(noise, number(4)))
  }
}
