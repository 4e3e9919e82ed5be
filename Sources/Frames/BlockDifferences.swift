import CPixels

/// How far blocks of 8 by 8 pixels of an rgb24 picture differ from one that is remembered, in levels.
/// Allocates only in `init`.
final class BlockDifferences {
  static let side = 8
  /// Bits after the point of what is remembered.
  static let fraction = Int32(TC_HISTORY_FRACTION)

  let columns, rows: Int
  /// By block: how far the mean of a colour moved, at the most, and how far samples differ.
  let shifts, spreads: UnsafeMutablePointer<Float>

  private let length: Int
  /// Of a line of blocks, by the sample's column: sums of differences, and of their sizes.
  private let sums, sizes: UnsafeMutablePointer<Int32>

  /// For pictures whose sides are multiples of 8.
  init(width: Int, height: Int) {
    precondition(width % Self.side == 0 && height % Self.side == 0 && width > 0 && height > 0)
    (columns, rows, length) = (width / Self.side, height / Self.side, width * 3)
    func memory<T>(_ count: Int, _ zero: T) -> UnsafeMutablePointer<T> {
      let pointer = UnsafeMutablePointer<T>.allocate(capacity: count)
      pointer.initialize(repeating: zero, count: count)
      return pointer
    }
    (shifts, spreads) = (memory(columns * rows, 0), memory(columns * rows, 0))
    (sums, sizes) = (memory(length, 0), memory(length, 0))
  }

  deinit {
    for pointer in [shifts, spreads] { pointer.deallocate() }
    for pointer in [sums, sizes] { pointer.deallocate() }
  }

  /// Measures a line of blocks of whole pictures.
  func measure(_ row: Int, _ frame: UnsafePointer<UInt8>, _ remembered: UnsafePointer<Int16>) {
    sums.update(repeating: 0, count: length)
    sizes.update(repeating: 0, count: length)
    for line in row * Self.side..<(row + 1) * Self.side {
      tc_steady_compare(frame + line * length, remembered + line * length, sums, sizes, Int32(length))
    }
    let area = Float(Self.side * Self.side << Int(Self.fraction))
    for column in 0..<columns {
      var (red, green, blue, size): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
      for index in stride(from: column * Self.side * 3, to: (column + 1) * Self.side * 3, by: 3) {
        red &+= sums[index]
        green &+= sums[index + 1]
        blue &+= sums[index + 2]
        size &+= sizes[index] &+ sizes[index + 1] &+ sizes[index + 2]
      }
      shifts[row * columns + column] = Float(max(abs(red), abs(green), abs(blue))) / area
      spreads[row * columns + column] = Float(size) / (3 * area)
    }
  }
}
