import Glibc

// Work on the pixels of a finished picture in place.
extension PictureFormat {
  /// Black everywhere but in `inner`.
  func fillBars(around inner: Area, in base: UnsafeMutableRawPointer) {
    if inner.width == width && inner.height == height { return }
    let whole = planes(of: Area(x: 0, y: 0, width: width, height: height), at: base)
    let step = pixels.chromaStep
    switch pixels {
    case .jpeg: return
    case .rgb24: fill(whole, 0, inner, unit: 3) { memset($0, 0, $1) }
    case .yuyv: fill(whole, 0, inner, unit: 2) { fillBlackYUYV($0, $1) }
    case .nv12:
      fill(whole, 0, inner, unit: 1) { memset($0, 16, $1) }
      let chroma = Area(x: inner.x, y: inner.y / 2, width: inner.width, height: inner.height / 2)
      fill(whole, 1, chroma, unit: 1, rows: height / 2) { memset($0, 128, $1) }
    case .i420:
      fill(whole, 0, inner, unit: 1) { memset($0, 16, $1) }
      let chroma = Area(
        x: inner.x / step.x, y: inner.y / step.y, width: inner.width / step.x, height: inner.height / step.y)
      for plane in 1...2 { fill(whole, plane, chroma, unit: 1, rows: height / 2) { memset($0, 128, $1) } }
    }
  }

  /// Calls `black` with every run of bytes of `plane` outside `inner`, which counts `unit` bytes across.
  private func fill(
    _ planes: Planes, _ plane: Int, _ inner: Area, unit: Int, rows: Int? = nil,
    _ black: (UnsafeMutablePointer<UInt8>, Int) -> Void
  ) {
    let stride = Int(planes.strides[plane])
    guard let start = planes.pointers[plane] else { return }
    for y in 0..<(rows ?? height) {
      let row = start + y * stride
      if y < inner.y || y >= inner.y + inner.height {
        black(row, stride)
      } else {
        let left = inner.x * unit
        let right = (inner.x + inner.width) * unit
        if left > 0 { black(row, left) }
        if right < stride { black(row + right, stride - right) }
      }
    }
  }

  private func fillBlackYUYV(_ row: UnsafeMutablePointer<UInt8>, _ count: Int) {
    var at = 0
    while at + 1 < count {
      row[at] = 16
      row[at + 1] = 128
      at += 2
    }
  }

  /// Swaps left and right.
  func mirror(_ base: UnsafeMutableRawPointer) {
    let whole = planes(of: Area(x: 0, y: 0, width: width, height: height), at: base)
    switch pixels {
    case .jpeg: return
    case .rgb24: mirrorRows(whole, 0, rows: height, units: width, unit: 3)
    case .yuyv:
      mirrorRows(whole, 0, rows: height, units: width / 2, unit: 4)
      swapLuma(whole.pointers[0]!, pairs: width / 2 * height)
    case .nv12:
      mirrorRows(whole, 0, rows: height, units: width, unit: 1)
      mirrorRows(whole, 1, rows: height / 2, units: width / 2, unit: 2)
    case .i420:
      mirrorRows(whole, 0, rows: height, units: width, unit: 1)
      for plane in 1...2 { mirrorRows(whole, plane, rows: height / 2, units: width / 2, unit: 1) }
    }
  }

  /// Reverses rows of `units` pieces of `unit` bytes each.
  private func mirrorRows(_ planes: Planes, _ plane: Int, rows: Int, units: Int, unit: Int) {
    guard let start = planes.pointers[plane] else { return }
    for y in 0..<rows {
      var left = start + y * Int(planes.strides[plane])
      var right = left + (units - 1) * unit
      while left < right {
        for byte in 0..<unit {
          let kept = left[byte]
          left[byte] = right[byte]
          right[byte] = kept
        }
        left += unit
        right -= unit
      }
    }
  }

  /// After whole Y0 U Y1 V groups were reversed, the two Y of each still stand the old way.
  private func swapLuma(_ base: UnsafeMutablePointer<UInt8>, pairs: Int) {
    for pair in 0..<pairs {
      let at = base + pair * 4
      let kept = at[0]
      at[0] = at[2]
      at[2] = kept
    }
  }
}
