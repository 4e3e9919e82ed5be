/// A cheap look at a JPEG from a camera before anybody spends time on it.
///
/// The rules are ustreamer's (`us_is_jpeg` and its V4L2 capture): cameras on weak USB links deliver frames that
/// are cut short or zeroed at the end.
public enum JPEGCheck {
  /// Fewer bytes cannot hold headers, tables and a picture.
  public static let minimumByteCount = 128

  /// Whether `bytes` start as a JPEG does and end as one may: with EOI, with EOI and one stray byte, or with
  /// the zero padding that some cameras add.
  public static func isPlausible(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let count = bytes.count
    guard count >= minimumByteCount, bytes[0] == 0xFF, bytes[1] == 0xD8 else { return false }
    switch (bytes[count - 2], bytes[count - 1]) {
    case (0xFF, 0xD9), (0xD9, 0x00), (0x00, 0x00): return true
    default: return false
    }
  }
}
