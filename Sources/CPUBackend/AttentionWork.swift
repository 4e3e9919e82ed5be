import CKernels

/// Attention: keys and values are packed, then blocks of queries meet them.
final class AttentionWork: Runnable {
  let parameters: Parameters<tc_attention>
  private let pack, attend: tc_body

  init(_ values: tc_attention) {
    parameters = Parameters(values)
    pack = tc_kernel(tc_kernel_attention_pack)
    attend = tc_kernel(tc_kernel_attention)
  }

  func run() {
    withExtendedLifetime(self) {
      let place = parameters.pointer
      tc_parallel(pack, place, tc_attention_pack_items(place), 1)
      tc_parallel_in_turns(attend, place, tc_attention_items(place))
    }
  }
}
