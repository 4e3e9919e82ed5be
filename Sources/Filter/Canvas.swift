import Frames

/// The pictures that go out, rgb24: what was painted alone, or to the right of what it was painted from.
struct Canvas: Equatable {
  let format: PictureFormat
  private let comparesInput: Bool

  init(_ size: PictureSize, comparesInput: Bool) {
    format = PictureFormat(.rgb24, width: size.width * (comparesInput ? 2 : 1), height: size.height)
    self.comparesInput = comparesInput
  }

  var size: PictureSize { PictureSize(width: format.width, height: format.height) }
  var byteCount: Int { format.width * format.height * 3 }

  /// Draws the input where it is to be seen. Both pictures are of the size that is painted.
  func drawInput(_ picture: UnsafeRawBufferPointer, on target: UnsafeMutableRawBufferPointer) {
    if comparesInput { draw(picture, on: target, half: 0) }
  }

  func drawPainted(_ picture: UnsafeRawBufferPointer, on target: UnsafeMutableRawBufferPointer) {
    if comparesInput { draw(picture, on: target, half: 1) } else { target.copyMemory(from: picture) }
  }

  private func draw(_ picture: UnsafeRawBufferPointer, on target: UnsafeMutableRawBufferPointer, half: Int) {
    let length = byteCount / format.height / 2
    for line in 0..<format.height {
      let start = (2 * line + half) * length
      UnsafeMutableRawBufferPointer(rebasing: target[start..<start + length]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: picture[line * length..<(line + 1) * length]))
    }
  }
}
