import CAV

/// How a picture must be turned to stand upright, as cameras and phones note it beside the pixels.
///
/// libav gives EXIF's and MP4's notes alike as a display matrix (libavutil/display.h): a shown point is
/// (a·x + c·y, b·x + d·y). Only quarter turns and flips occur; other angles count as the nearest.
struct Orientation: Equatable {
  /// Columns become rows.
  var isTransposed = false
  /// Shown x runs against the stored side that it comes from, and y.
  var flipsX = false
  var flipsY = false

  init() {}
  init(_ matrix: UnsafePointer<Int32>?) {
    guard let matrix else { return }
    let (a, b, c, d) = (Int(matrix[0]), Int(matrix[1]), Int(matrix[3]), Int(matrix[4]))
    isTransposed = abs(a) < abs(b)
    flipsX = isTransposed ? c < 0 : a < 0
    flipsY = isTransposed ? b < 0 : d < 0
  }

  var isUpright: Bool { self == Orientation() }

  /// Turns an rgb24 picture with rows of `stride` bytes; `target` holds width · height · 3 bytes without
  /// padding.
  func turn(
    _ source: UnsafePointer<UInt8>, width: Int, height: Int, stride: Int,
    into target: UnsafeMutablePointer<UInt8>
  ) {
    let shownWidth = isTransposed ? height : width
    let shownHeight = isTransposed ? width : height
    var at = target
    for y in 0..<shownHeight {
      let alongY = flipsY ? shownHeight - 1 - y : y
      for x in 0..<shownWidth {
        let alongX = flipsX ? shownWidth - 1 - x : x
        let from =
          isTransposed ? source + alongX * stride + alongY * 3 : source + alongY * stride + alongX * 3
        at[0] = from[0]
        at[1] = from[1]
        at[2] = from[2]
        at += 3
      }
    }
  }
}

extension AVStream {
  var displayMatrix: UnsafePointer<Int32>? {
    for index in 0..<Int(nb_side_data) {
      let entry = side_data[index]
      if entry.type == AV_PKT_DATA_DISPLAYMATRIX && entry.size >= 36 {
        return UnsafeRawPointer(entry.data)?.assumingMemoryBound(to: Int32.self)
      }
    }
    return nil
  }
}

extension UnsafeMutablePointer<AVFrame> {
  var displayMatrix: UnsafePointer<Int32>? {
    guard let entry = av_frame_get_side_data(self, AV_FRAME_DATA_DISPLAYMATRIX), entry.pointee.size >= 36
    else { return nil }
    return UnsafeRawPointer(entry.pointee.data)?.assumingMemoryBound(to: Int32.self)
  }
}
