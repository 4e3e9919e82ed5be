import Frames

/// A colour and its Y, U and V, computed by hand from the weights of the matrix: Y = 16 + 219 (Kr R + Kg G + Kb B),
/// U = 128 + 224 (B - Y) / (2 - 2 Kb), and so on, in limited range.
struct EncodedColor: Sendable {
  var encoding: ColorEncoding
  var rgb: RGB
  var y: Int
  var u: Int
  var v: Int

  private static let red = RGB(255, 0, 0)
  private static let green = RGB(0, 255, 0)
  private static let blue = RGB(0, 0, 255)

  static let all =
    of(
      ColorEncoding(.bt601, isFullRange: true),
      [(red, 76, 85, 255), (blue, 29, 255, 107), (.white, 255, 128, 128)]
    )
    + of(
      ColorEncoding(.bt709, isFullRange: false),
      [(red, 63, 102, 240), (green, 173, 42, 26), (blue, 32, 240, 118), (.white, 235, 128, 128)])
    + of(ColorEncoding(.bt709, isFullRange: true), [(red, 54, 99, 255), (.black, 0, 128, 128)])
    + of(ColorEncoding(.smpte240M, isFullRange: false), [(red, 62, 102, 240), (blue, 35, 240, 116)])
    + of(ColorEncoding(.bt2020, isFullRange: false), [(red, 74, 97, 240), (blue, 29, 240, 119)])

  private static func of(_ encoding: ColorEncoding, _ colors: [(RGB, Int, Int, Int)]) -> [EncodedColor] {
    colors.map { EncodedColor(encoding: encoding, rgb: $0.0, y: $0.1, u: $0.2, v: $0.3) }
  }
}
