import CKernels
import Engine

/// How a convolution is computed: by the first of these that takes it (`Lowering.convolutionMethod`).
///
/// An up-sampling one comes here as one that doubles its input, where `winograd` takes it; else fusion has
/// made of it a plain convolution of four phases and an op that joins them (`Fusion.splitUpsampling`).
enum ConvolutionMethod {
  /// One tap that moves by one pixel: a matrix product over pixels.
  case product
  /// A kernel of our own for a few channels of results, as an autoencoder's last layer has.
  case narrow
  /// Tiles of 4x4 results.
  case winograd(WinogradConvolution)
  /// A kernel of our own that unpacks weights as it goes.
  case panels(PanelProduct)
  /// oneDNN's.
  case direct
}

extension Lowering {
  /// Chooses by shapes, element types, the weights as they lie in the file, and the processor. Throws where
  /// none takes it.
  func convolutionMethod(_ node: Node, _ settings: Convolution) throws -> ConvolutionMethod {
    guard !settings.joinsPhases else {
      throw EngineError.unsupported("convolutions that join phases", backend: "the CPU backend")
    }
    let (source, weight) = (plan.graph.type(node.inputs[0]), plan.graph[node.inputs[1]])
    let isOneTap = weight.type.shape[1...2] == [1, 1]
    if isOneTap && settings.stride == 1 && settings.padding == Padding(0) { return .product }
    if Self.isNarrow(weight.type.shape, source.element, settings) { return .narrow }
    if let convolution = WinogradConvolution(node, settings, source: source, weight: weight) {
      return .winograd(convolution)
    }
    guard !settings.upsamplesInput else {
      throw EngineError.unsupported("plain convolutions that double", backend: "the CPU backend")
    }
    if let product = panelProduct(node, settings.epilogue) { return .panels(product) }
    return .direct
  }

  /// Whether the kernel for a few results takes weights `[K, R, S, C]`.
  private static func isNarrow(_ weights: [Int], _ element: ElementType, _ settings: Convolution) -> Bool {
    weights[0] <= tc_narrow_outputs && weights[3] % tc_narrow_channels == 0
      && settings.stride == 1 && !settings.epilogue.residual && !settings.epilogue.scaled
      && (element == .bf16 || element == .f32)
  }
}
