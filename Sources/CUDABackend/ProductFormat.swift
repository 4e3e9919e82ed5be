import Engine

/// In which formats a GPU multiplies, where people trade exactness for time.
public struct ProductFormat: Sendable, Equatable {
  /// f16 has the tensor cores sum 64 products in f16 before they go into f32: twice as fast on GeForce cards
  /// and a little less exact. Linear layers behind a layer norm, whose rows are not centred, stay in f32.
  public var sums = ElementType.f32
  /// What linear layers behind a layer norm are multiplied in.
  public var linears = Linears.f16

  public enum Linears: String, Sendable, CaseIterable {
    case f16
    /// e4m3 for both operands, on Hopper: half of the weights' bytes and twice the rate.
    case f8
  }

  public init(sums: ElementType = .f32, linears: Linears = .f16) {
    (self.sums, self.linears) = (sums, linears)
  }
}
