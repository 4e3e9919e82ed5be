/// Stride, padding and what follows a convolution.
public struct Convolution: Hashable, Sendable {
  public var stride: Int
  public var padding: Padding
  public var epilogue: Epilogue
  /// The filters are four phases, and the result is joined as `Op.joinPhases` says. No residual then.
  public var joinsPhases: Bool
  /// The picture is doubled by nearest neighbours first: `[H, W, C]` counts as `[2H, 2W, C]`.
  public var upsamplesInput: Bool

  public init(
    stride: Int = 1, padding: Padding = Padding(0), epilogue: Epilogue = Epilogue(),
    joinsPhases: Bool = false, upsamplesInput: Bool = false
  ) {
    self.upsamplesInput = upsamplesInput
    self.stride = stride
    self.padding = padding
    self.epilogue = epilogue
    self.joinsPhases = joinsPhases
  }

  /// The result's shape before phases are joined.
  public func parts(of result: [Int]) -> [Int] {
    joinsPhases ? [result[0] / 2 + 1, result[1] / 2 + 1, 4 * result[2]] : result
  }
}

/// Zero padding of a picture, in pixels.
public struct Padding: Hashable, Sendable {
  public var top, left, bottom, right: Int

  public init(top: Int, left: Int, bottom: Int, right: Int) {
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }
  public init(_ all: Int) { self.init(top: all, left: all, bottom: all, right: all) }
}
