/// What of a picture can change without compiling anew.
public struct PipelineSettings: Equatable, Sendable {
  public var prompt: String
  /// In (0, 1]: where the denoising starts; 1 leaves nothing of the input but what noise cannot hide.
  /// Of no effect from text.
  public var strength: Double
  /// As `torch.Generator().manual_seed`; only the lower 32 bits count there.
  public var seed: Int

  public init(prompt: String, strength: Double = 0.5, seed: Int = 0) {
    self.prompt = prompt
    self.strength = strength
    self.seed = seed
  }
}
