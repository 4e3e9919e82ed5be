import CCUDA

/// The tensor-core kernel, and where k is shared the one that sums the shares.
final class TiledProduct: ProductWork {
  private let main: Launch<tc_cuda_product>
  private let finish: Launch<tc_cuda_product>?

  init(_ main: Launch<tc_cuda_product>, _ finish: Launch<tc_cuda_product>?) {
    (self.main, self.finish) = (main, finish)
  }

  func use(weight: tc_CUdeviceptr) { main.parameters.pointee.weight = weight }

  func run() throws {
    try main.run()
    try finish?.run()
  }

  var label: String { [main.label, finish?.label].compactMap { $0 }.joined(separator: " + ") }
}
