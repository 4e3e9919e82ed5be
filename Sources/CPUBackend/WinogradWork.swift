import CKernels
import Engine

/// A convolution in tiles. With transformed weights a thread does all of the work on a few tiles whose
/// matrices fit its core's own cache; else all threads go through many tiles together, and each transforms
/// filters for its share of them.
final class WinogradWork: Runnable {
  private let parameters: Parameters<tc_winograd>
  private var place: UnsafeMutablePointer<tc_winograd> { parameters.pointer }
  private let threads: Int

  /// Two rounds of the kernel's six rows, and up to one more.
  private static let fewTiles = 12...18
  /// One round, for more threads than have two each.
  private static let fewestTiles = 6
  /// Inputs of many tiles, which stay in the cache that cores share.
  private static let manyBytes = 10 << 20
  /// Pieces for each thread, so that none waits long for the last.
  private static let pieces = 4
  private static let fewestTilesOfPiece = 16
  /// Where some threads would have none at all.
  private static let fewestColumns = 16
  private static let leastTilesOfPiece = 8

  init(_ values: tc_winograd, threads: Int, keep: [Buffer]) {
    self.threads = threads
    parameters = Parameters(values, keep: keep)
    place.pointee.block = Self.block(of: values.tiles, threads: threads)
    guard isInPieces else { return }
    let most = tc_winograd_tiles
    place.pointee.block = min(
      values.tiles, max(most, Self.manyBytes / (36 * 4 * values.channels) / most * most))
    place.pointee.piece = most
    place.pointee.columns = tc_winograd_columns
    while place.pointee.piece > Self.fewestTilesOfPiece,
      tc_winograd_pieces(place) < Self.pieces * threads
    {
      place.pointee.piece /= 2
    }
    // Two threads keep the pieces that were measured on them.
    guard threads > 2 else { return }
    while place.pointee.columns > Self.fewestColumns, tc_winograd_pieces(place) < threads {
      place.pointee.columns /= 2
    }
    // Filters are transformed for each piece of tiles: only where twice as many pieces are one turn still.
    while place.pointee.piece > Self.leastTilesOfPiece, 2 * tc_winograd_pieces(place) <= threads {
      place.pointee.piece /= 2
    }
  }

  /// Tiles at a time with which the thread that has most of them has the fewest; blocks are taken in turns.
  private static func block(of tiles: Int, threads: Int) -> Int {
    func most(_ block: Int) -> Int {
      let whole = tiles / block
      let rest = tiles % block
      return whole % threads == 0 ? whole / threads * block + rest : (whole / threads + 1) * block
    }
    let isShort = tiles / threads < fewTiles.lowerBound
    let sizes = isShort ? fewestTiles...fewTiles.upperBound : fewTiles
    return sizes.min { most($0) < most($1) } ?? fewTiles.lowerBound
  }

  private var isInPieces: Bool { place.pointee.filters != nil }

  var implementation: String { isInPieces ? "winograd pieces" : "winograd" }

  /// Of its products, two for each multiply-add.
  var operations: Double {
    let products = place.pointee
    return 2 * (products.doubles != 0 ? 25 : 36)
      * Double(products.tiles * products.channels * products.outputs)
  }

  var scratchFloats: Int {
    isInPieces
      ? tc_winograd_inputs(place) + threads * tc_winograd_piece_scratch()
      : threads * tc_winograd_scratch(place)
  }

  /// Takes memory of `scratchFloats`.
  func use(_ memory: UnsafeMutablePointer<Float>) {
    place.pointee.inputs = memory
    place.pointee.scratch = isInPieces ? memory + tc_winograd_inputs(place) : memory
  }

  func run() {
    withExtendedLifetime(self) {
      let (tiles, block) = (place.pointee.tiles, place.pointee.block)
      guard isInPieces else {
        tc_parallel_in_turns(tc_kernel(tc_kernel_winograd_block), place, (tiles + block - 1) / block)
        return
      }
      for first in stride(from: 0, to: tiles, by: block) {
        place.pointee.first = first
        tc_parallel(tc_kernel(tc_kernel_winograd_in), place, tc_winograd_count(place), 4)
        tc_parallel_in_turns(tc_kernel(tc_kernel_winograd_pieces), place, tc_winograd_pieces(place))
      }
    }
  }
}
