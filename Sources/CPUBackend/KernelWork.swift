import CKernels

/// A kernel of our own: parameters filled once, items shared out over the threads.
final class KernelWork<Values>: Runnable {
  private let parameters: Parameters<Values>
  private let body: tc_body
  private let count, grain: Int

  init(_ body: @escaping tc_body, _ values: Values, count: Int, grain: Int, keep: [Buffer] = []) {
    self.body = body
    parameters = Parameters(values, keep: keep)
    self.count = count
    self.grain = grain
  }

  func run() { withExtendedLifetime(self) { tc_parallel(body, parameters.pointer, count, grain) } }
}
