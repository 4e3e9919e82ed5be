import CKernels

/// Group normalisation: statistics, their combination, and the pass that applies them.
final class GroupNormWork: Runnable {
  let parameters: Parameters<tc_group_norm>
  private let statistics, apply: tc_body
  private let grain: Int

  /// Numbers that are worth a thread: for fewer it takes longer to wake one.
  private static let share = 8192

  /// Blocks of rows that statistics are made of at a time.
  static func blocks(rows: Int, channels: Int, threads: Int) -> Int {
    max(1, min(rows, threads, rows * channels / share))
  }

  init(_ values: tc_group_norm, keep: [Buffer]) {
    parameters = Parameters(values, keep: keep)
    statistics = tc_kernel(tc_kernel_group_statistics)
    apply = tc_kernel(tc_kernel_group_apply)
    grain = max(1, Self.share / values.channels)
  }

  func run() {
    withExtendedLifetime(self) {
      let place = parameters.pointer
      tc_parallel(statistics, place, place.pointee.blocks, 1)
      tc_group_combine(place)
      tc_parallel(apply, place, place.pointee.rows, grain)
    }
  }
}
