import CKernels

/// Group normalisation: statistics, their combination, and the pass that applies them.
final class GroupNormWork: Runnable {
  let parameters: Parameters<tc_group_norm>
  private let statistics, apply: tc_body
  private let grain: Int

  init(_ values: tc_group_norm, keep: [Buffer]) {
    parameters = Parameters(values, keep: keep)
    statistics = tc_kernel(tc_kernel_group_statistics)
    apply = tc_kernel(tc_kernel_group_apply)
    grain = max(1, 8192 / values.channels)
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
