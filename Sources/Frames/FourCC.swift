/// A V4L2 four-character code.
public struct FourCC: Hashable, Sendable, CustomStringConvertible {
  public let code: UInt32
  public init(_ code: UInt32) { self.code = code }

  /// The code of a name of one to four letters, as `description` gives it.
  public init(named name: String) {
    var letters = Array(name.utf8.prefix(4))
    while letters.count < 4 { letters.append(UInt8(ascii: " ")) }
    let code = letters.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    self.init(name.hasSuffix("-BE") ? code | 1 << 31 : code)
  }

  public static let mjpeg = FourCC(named: "MJPG")
  public static let jpeg = FourCC(named: "JPEG")
  public static let yuyv = FourCC(named: "YUYV")
  public static let nv12 = FourCC(named: "NV12")
  public static let yu12 = FourCC(named: "YU12")
  public static let rgb3 = FourCC(named: "RGB3")

  /// Bit 31 marks a big-endian variant and is no part of the last letter.
  public var description: String {
    let letters = (0..<4).map { UInt8(truncatingIfNeeded: (code & 0x7FFF_FFFF) >> (8 * UInt32($0))) }
    let shown = letters.map { (33...126).contains($0) ? $0 : UInt8(ascii: " ") }
    let name = String(decoding: shown, as: UTF8.self)
    return code >> 31 == 0 ? name : name + "-BE"
  }

  /// How we know the bytes of this format, nil for one that must be converted.
  public var pixels: PixelFormat? {
    switch self {
    case .mjpeg, .jpeg: return .jpeg
    case .yuyv: return .yuyv
    case .nv12: return .nv12
    case .yu12: return .i420
    case .rgb3: return .rgb24
    default: return nil
    }
  }
}
