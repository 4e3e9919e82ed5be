/// Something prepared that runs without allocating.
///
/// Works hand raw pointers to C, so `run` keeps its object alive until C has returned: without that, the
/// optimiser may free a work after the last look at its fields.
protocol Runnable: AnyObject {
  func run() throws
  /// What runs it, for profiles: "brgconv:avx512_core_bf16".
  var implementation: String { get }
}

extension Runnable {
  var implementation: String { "kernel" }
}
