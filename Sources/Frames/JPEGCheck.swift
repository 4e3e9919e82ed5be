/// A cheap look at a JPEG from a camera before anybody spends time on it.
///
/// The rules are like those of ustreamer's capture code (`_capture_is_buffer_valid`): cameras on weak USB
/// links deliver frames that are cut short or zeroed at the end.
public enum JPEGCheck {
  /// Fewer bytes cannot hold headers, tables and a picture.
  public static let minimumByteCount = 128

  /// Whether `bytes`, without padding, start and end as a JPEG does: with SOI and EOI.
  public static func isPlausible(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let count = bytes.count
    return count >= minimumByteCount && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[count - 2] == 0xFF
      && bytes[count - 1] == 0xD9
  }
}
