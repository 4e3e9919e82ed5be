/// How the Y, U and V of a picture stand for red, green and blue.
public struct ColorEncoding: Hashable, Sendable {
  /// The weights of red, green and blue in Y.
  public enum Matrix: Hashable, Sendable {
    case bt601
    case bt709
    case smpte240M
    case bt2020
  }
  public var matrix: Matrix
  /// Whether Y reaches from 0 to 255, not from 16 to 235.
  public var isFullRange: Bool

  public init(_ matrix: Matrix, isFullRange: Bool) {
    self.matrix = matrix
    self.isFullRange = isFullRange
  }

  /// What webcams and v4l2loopback's readers mean unless they say otherwise.
  public static let standard = ColorEncoding(.bt601, isFullRange: false)
}
