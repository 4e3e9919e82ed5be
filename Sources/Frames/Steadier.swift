import CPixels

/// Averages a camera's noise away over time, where the picture stands still.
///
/// A model makes strokes and grain up from what it is given, so noise that nobody sees flickers in what it
/// paints. Each frame moves the picture remembered a part of the way towards itself, as broadcast noise
/// reducers do (Dubois and Sabri 1984, "Noise reduction in image sequences using motion-compensated temporal
/// filtering"; here nothing is compensated, what moves is let through):
///
///     history += alpha · (frame − history)          alpha = 1 − amount where nothing moves, 1 where something does
///
/// Whether something moves is judged in blocks of 8 by 8 pixels, by how far they differ from the history
/// beside how far noise makes still blocks differ, which is measured from frame to frame. Allocates only in
/// `init`.
public final class Steadier {
  public let width, height: Int
  private static let side = BlockDifferences.side

  /// A block that differs so many times as much as noise does begins to count as moving; one of twice as much
  /// moves.
  private static let still: Float = 1.5
  /// Levels that every block may differ by.
  private static let allowance: Float = 1
  /// A mean that moves is surer a sign of motion than samples that differ, so it counts for more.
  private static let shiftWeight: Float = 1.5
  /// What noise may be taken for, in levels: no camera has less, and more is motion all over the picture.
  private static let quietest: Float = 0.3
  private static let loudest: Float = 8
  /// How far the estimate of noise goes towards a lower measurement, and the most it rises by in a frame.
  private static let noiseFall: Float = 0.25
  private static let noiseRise: (factor: Float, levels: Float) = (1.1, 0.05)

  private let differences: BlockDifferences
  private let length: Int
  private var columns: Int { differences.columns }
  private var rows: Int { differences.rows }
  private var shifts: UnsafeMutablePointer<Float> { differences.shifts }
  private var spreads: UnsafeMutablePointer<Float> { differences.spreads }
  private var hasHistory = false
  /// Mean size of the differences that noise makes, in levels.
  private var noise: Float = 2

  private let frame: UnsafeMutableRawBufferPointer
  private let history: UnsafeMutablePointer<Int16>
  /// By block: alpha of the block alone.
  private let ownAlphas: UnsafeMutablePointer<Float>
  /// By block: alpha from 0 to 256, neighbours considered.
  private let alphas: UnsafeMutablePointer<Int32>
  /// Alpha by the sample's column, at the middles of the block lines above and below.
  private var above, below: UnsafeMutablePointer<Int32>
  private let histogram: UnsafeMutablePointer<Int>
  private static let binsALevel: Float = 16
  private static let bins = Int(loudest * binsALevel)

  /// For rgb24 pictures whose sides are multiples of 8.
  public init(width: Int, height: Int) {
    differences = BlockDifferences(width: width, height: height)
    (self.width, self.height, length) = (width, height, width * 3)
    let (columns, rows) = (differences.columns, differences.rows)
    func memory<T>(_ count: Int, _ zero: T) -> UnsafeMutablePointer<T> {
      let pointer = UnsafeMutablePointer<T>.allocate(capacity: count)
      pointer.initialize(repeating: zero, count: count)
      return pointer
    }
    frame = UnsafeMutableRawBufferPointer.allocate(byteCount: length * height, alignment: 64)
    frame.initializeMemory(as: UInt8.self, repeating: 0)
    history = memory(length * height, 0)
    ownAlphas = memory(columns * rows, 0)
    alphas = memory(columns * rows, 0)
    (above, below) = (memory(length, 0), memory(length, 0))
    histogram = memory(Self.bins, 0)
  }

  deinit {
    frame.deallocate()
    history.deallocate()
    for pointer in [alphas, above, below] { pointer.deallocate() }
    ownAlphas.deallocate()
    histogram.deallocate()
  }

  /// Steadies the frame that `fill` writes, and writes it to `output`; rgb24 both. `amount` in 0...1: 0
  /// leaves it as it is. When `fill` throws nothing changes.
  public func steady(
    into output: UnsafeMutableRawBufferPointer, amount: Double,
    fill: (UnsafeMutableRawBufferPointer) throws -> Void
  ) rethrows {
    try fill(frame)
    precondition(output.count >= frame.count)
    guard hasHistory else {
      begin()
      return output.copyMemory(from: UnsafeRawBufferPointer(frame))
    }
    let (samples, _) = line(0)
    for row in 0..<rows { differences.measure(row, samples, history) }
    estimateNoise()
    computeAlphas(Float(amount))
    let target = output.baseAddress!.assumingMemoryBound(to: UInt8.self)
    for line in 0..<height { blendLine(line, target + line * length) }
  }

  private func begin() {
    let samples = frame.baseAddress!.assumingMemoryBound(to: UInt8.self)
    for index in 0..<length * height {
      history[index] = Int16(samples[index]) << Int16(BlockDifferences.fraction)
    }
    hasHistory = true
  }

  private func line(_ number: Int) -> (frame: UnsafePointer<UInt8>, history: UnsafeMutablePointer<Int16>) {
    let samples = frame.baseAddress!.assumingMemoryBound(to: UInt8.self)
    return (UnsafePointer(samples + number * length), history + number * length)
  }

  // MARK: Motion and noise

  /// Measures noise: what the quietest quarter of the blocks differ by whose means hardly move. It is
  /// believed to fall sooner than to rise, for motion looks like noise in places. Black blocks, as bars are,
  /// have none.
  private func estimateNoise() {
    histogram.update(repeating: 0, count: Self.bins)
    var (count, total) = (0, Float(0))
    for block in 0..<columns * rows {
      let spread = spreads[block]
      total += spread
      guard shifts[block] <= spread / 2, spread > 0 || !isBlack(block) else { continue }
      histogram[min(Int(spread * Self.binsALevel), Self.bins - 1)] += 1
      count += 1
    }
    // The same frame twice says nothing of noise, nor does one that moves all over.
    guard total > 0, count * 16 >= columns * rows else { return }
    var (bin, quieter) = (0, histogram[0])
    while quieter * 4 < count {
      bin += 1
      quieter += histogram[bin]
    }
    let measured = Float(bin) / Self.binsALevel
    noise =
      measured < noise
      ? noise + (measured - noise) * Self.noiseFall
      : min(measured, noise * Self.noiseRise.factor + Self.noiseRise.levels)
  }

  private func isBlack(_ block: Int) -> Bool {
    let (row, column) = (block / columns, block % columns)
    let first = history + row * Self.side * length + column * Self.side * 3
    return first[0] == 0 && first[1] == 0 && first[2] == 0
  }

  /// Alpha of every block: that of the most moving among it and its neighbours.
  private func computeAlphas(_ amount: Float) {
    let least = 1 - min(max(amount, 0), 1)
    let noise = max(self.noise, Self.quietest)
    for block in 0..<columns * rows {
      let size = max(
        spreads[block] / (noise + Self.allowance),
        Self.shiftWeight * shifts[block] / (noise / 2 + Self.allowance))
      let motion = min(max(size / Self.still - 1, 0), 1)
      ownAlphas[block] = least + (1 - least) * motion
    }
    for row in 0..<rows {
      for column in 0..<columns {
        var most: Float = 0
        for y in max(row - 1, 0)...min(row + 1, rows - 1) {
          for x in max(column - 1, 0)...min(column + 1, columns - 1) {
            most = max(most, ownAlphas[y * columns + x])
          }
        }
        alphas[row * columns + column] = Int32(256 * most)
      }
    }
  }

  // MARK: History

  /// Moves a line of the history and writes it, alpha interpolated between the middles of blocks.
  private func blendLine(_ number: Int, _ output: UnsafeMutablePointer<UInt8>) {
    let side = Self.side
    // In half pixels from the middle of the block line above, 1, 3, … 15.
    let place = 2 * ((number + side / 2) % side) + 1
    let lower = (number + side / 2) / side
    if number == 0 {
      // The lines above the first middle have no block line above theirs.
      expandAlphas(0, into: above)
      expandAlphas(0, into: below)
    } else if place == 1 {
      // Past a middle: what was below is above now.
      swap(&above, &below)
      expandAlphas(min(lower, rows - 1), into: below)
    }
    let (frame, history) = line(number)
    tc_steady_advance(
      frame, history, above, below, Int32(2 * side - place), Int32(place), output, Int32(length))
  }

  /// Alpha of a line of blocks by the sample's column.
  private func expandAlphas(_ row: Int, into samples: UnsafeMutablePointer<Int32>) {
    let side = Self.side
    let blocks = alphas + row * columns
    for x in 0..<width {
      let place = Int32(2 * ((x + side / 2) % side) + 1)
      let right = (x + side / 2) / side
      let (a, b) = (blocks[max(right - 1, 0)], blocks[min(right, columns - 1)])
      let alpha = (a &* (Int32(2 * side) &- place) &+ b &* place) >> 4
      samples[3 * x] = alpha
      samples[3 * x + 1] = alpha
      samples[3 * x + 2] = alpha
    }
  }
}
