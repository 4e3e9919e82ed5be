import CCUDA

/// The tensor-core kernel, and where k is shared the one that sums the shares.
final class TiledProduct: ProductWork {
  private let main: Launch<tc_cuda_product>
  private let work: SequenceWork

  init(_ main: Launch<tc_cuda_product>, _ finish: Launch<tc_cuda_product>?) {
    (self.main, work) = (main, SequenceWork([main, finish].compactMap { $0 }))
  }

  func use(weight: tc_CUdeviceptr) { main.parameters.pointee.weight = weight }

  func run() throws { try work.run() }
  var label: String { work.label }
}
