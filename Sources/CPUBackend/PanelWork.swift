import CKernels
import Engine

/// A product with weights in panels.
final class PanelWork: Runnable {
  let parameters: Parameters<tc_panels>

  /// Results at a time: so many that their sums fit a core's own cache, and no fewer than use a weight often.
  /// Sums of floats are read and written for shorter pieces of the weights, so more often.
  private static let mostRows = 384
  private static let mostRowsOfFloats = 128
  private static let fewestRows = 96
  /// To unpack a piece of the weights takes about as long as to multiply two rows by it.
  private static let fewestRowsOfFloats = 24
  /// Items for each thread, so that none waits long for the last.
  private static let items = 4

  init(_ values: tc_panels, rows: Int, threads: Int, keep: [Buffer]) {
    parameters = Parameters(values, keep: keep)
    let place = parameters.pointer
    let (most, fewest) =
      values.pairs != 0 ? (Self.mostRows, Self.fewestRows) : (Self.mostRowsOfFloats, Self.fewestRowsOfFloats)
    place.pointee.block = min(rows, most)
    while place.pointee.block >= 2 * fewest, tc_panels_items(place) < Self.items * threads {
      place.pointee.block /= 2
    }
  }

  var implementation: String { parameters.pointer.pointee.pairs != 0 ? "panels" : "halves" }

  func run() {
    withExtendedLifetime(self) {
      let place = parameters.pointer
      tc_parallel_in_turns(tc_kernel(tc_kernel_panels), place, tc_panels_items(place))
    }
  }
}
