/// Whether a picture still looks like the one that was painted last, so that painting it would be for
/// nothing.
///
/// It is compared with that one and not with the picture before, so what changes slowly is painted, too, once
/// it has changed far enough. StreamDiffusion's Stochastic Similarity Filter (Kodaira et al. 2023, arXiv
/// 2312.12491) compares whole pictures, in which a mouth that opens hardly counts; here one block of 8 by 8
/// pixels is enough. Allocates only in `init`.
public final class ChangeDetector {
  private let differences: BlockDifferences
  private let count: Int
  private let painted: UnsafeMutablePointer<Int16>
  private var hasPainted = false

  /// Samples of a block differ from noise alone, a mean hardly does.
  private static let spreadWeight: Float = 2

  /// For rgb24 pictures whose sides are multiples of 8.
  public init(width: Int, height: Int) {
    differences = BlockDifferences(width: width, height: height)
    count = width * height * 3
    painted = .allocate(capacity: count)
    painted.initialize(repeating: 0, count: count)
  }

  deinit { painted.deallocate() }

  /// Whether in some block the mean of a colour moved by `levels` of 255, or samples differ by twice as much;
  /// or nothing was painted yet. Then `picture` is taken for the one that is painted now.
  public func isChanged(_ picture: UnsafeRawBufferPointer, by levels: Double) -> Bool {
    precondition(picture.count >= count)
    let samples = picture.baseAddress!.assumingMemoryBound(to: UInt8.self)
    guard !hasPainted || differs(samples, Float(levels)) else { return false }
    for index in 0..<count { painted[index] = Int16(samples[index]) << Int16(BlockDifferences.fraction) }
    hasPainted = true
    return true
  }

  /// The next picture is a changed one, whatever it looks like.
  public func forget() { hasPainted = false }

  private func differs(_ samples: UnsafePointer<UInt8>, _ levels: Float) -> Bool {
    for row in 0..<differences.rows {
      differences.measure(row, samples, painted)
      for block in row * differences.columns..<(row + 1) * differences.columns
      where differences.shifts[block] >= levels || differences.spreads[block] >= Self.spreadWeight * levels {
        return true
      }
    }
    return false
  }
}
