import Frames

/// Tells whole JPEGs of a stream from broken ones without decoding each.
///
/// Marks at both ends are looked at always (`JPEGCheck`). Frames of one scene are nearly equally long, so one
/// that is much shorter than those before it is decoded to see.
struct JPEGWatch: ~Copyable {
  private let decoder: JPEGDecoder
  /// Of the frames that were good, moving.
  private var meanByteCount = 0.0
  private static let suspiciousShare = 0.8
  private static let weight = 0.125

  init() throws { decoder = try JPEGDecoder() }

  /// Whether `jpeg`, without padding, is a whole picture as far as can be told.
  mutating func accepts(_ jpeg: UnsafeRawBufferPointer) -> Bool {
    guard JPEGCheck.isPlausible(jpeg) else { return false }
    let isUsual = Double(jpeg.count) >= meanByteCount * JPEGWatch.suspiciousShare
    guard isUsual && meanByteCount > 0 || decoder.isWhole(jpeg) else { return false }
    meanByteCount +=
      meanByteCount == 0 ? Double(jpeg.count) : (Double(jpeg.count) - meanByteCount) * JPEGWatch.weight
    return true
  }
}
