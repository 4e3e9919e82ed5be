import CCUDA
import Engine

/// NVIDIA's own matrix products, where the library is there.
final class CublasLt: @unchecked Sendable {
  private let context: GPUContext
  let library: DynamicLibrary
  let version: Int
  /// Bytes of scratch memory that a product may ask for: what NVIDIA advises.
  let workspace: Int
  let handle: tc_cublasLtHandle?

  /// Opens it. The context must be current. Errors: `CUDAError`.
  init(_ context: GPUContext) throws {
    self.context = context
    library = try LibrarySearch.cublasLt(driver: context.driver.version)
    version = library.find("cublasLtGetVersion", tc_cublasLtGetVersion.self)?() ?? 0
    workspace = context.device.capability >= 90 ? 32 << 20 : 4 << 20
    var handle: tc_cublasLtHandle?
    let code = try library.get("cublasLtCreate", tc_cublasLtCreate.self)(&handle)
    guard code == 0 else { throw Self.failure("cublasLtCreate", code) }
    self.handle = handle
  }

  deinit {
    try? context.enter()
    _ = library.find("cublasLtDestroy", tc_cublasLtDestroy.self)?(handle)
  }

  static func check(_ code: Int32, _ call: String) throws {
    if code != 0 { throw failure(call, code) }
  }

  private static func failure(_ call: String, _ code: Int32) -> CUDAError {
    .call(call, code: Int(code), text: "cuBLASLt", for: "a product")
  }

  /// cudaDataType_t of what it multiplies; nil for what we do not give it.
  static func type(_ element: ElementType) -> Int32? {
    switch element {
    case .f16: return TC_CUDA_R_16F
    case .bf16: return TC_CUDA_R_16BF
    default: return nil
    }
  }
}

/// A product by cuBLASLt: linear layers and convolutions of 1x1, with a bias of the same element and a
/// residual.
final class LibraryProduct: Runnable, ProductWork {
  let label: String
  private let library: CublasLt
  private let stream: GPUStream
  private let descriptor: tc_cublasLtMatmulDesc?
  /// Of weights, x, residual and result.
  private var layouts: [tc_cublasLtMatrixLayout?] = []
  private let product: tc_cuda_product
  private let multiply: tc_cublasLtMatmul
  private let setAttribute: tc_cublasLtMatmulDescSetAttribute
  private var algorithm = tc_cublasLtMatmulAlgo()
  private(set) var workspace = 0
  /// Written when the scratch memory is there.
  var scratch: tc_CUdeviceptr = 0
  private var weight: tc_CUdeviceptr

  func use(weight: tc_CUdeviceptr) { self.weight = weight }

  /// The most that are asked of the library for one product.
  static let algorithms = 8

  /// `rank`: which of the library's proposals for this product, from the best by its own guess. nil where it
  /// has fewer. `bias`: where there is one, of the element.
  init?(
    _ library: CublasLt, _ stream: GPUStream, _ product: tc_cuda_product, _ element: ElementType,
    bias: tc_CUdeviceptr?, rank: Int
  ) throws {
    guard let type = CublasLt.type(element) else { return nil }
    (self.library, self.stream, self.product) = (library, stream, product)
    weight = product.weight
    label = "cublaslt \(rank)"
    let functions = library.library
    multiply = try functions.get("cublasLtMatmul", tc_cublasLtMatmul.self)
    setAttribute = try functions.get("cublasLtMatmulDescSetAttribute", tc_cublasLtMatmulDescSetAttribute.self)
    var descriptor: tc_cublasLtMatmulDesc?
    try CublasLt.check(
      functions.get("cublasLtMatmulDescCreate", tc_cublasLtMatmulDescCreate.self)(
        &descriptor, TC_CUBLAS_COMPUTE_32F, TC_CUDA_R_32F), "cublasLtMatmulDescCreate")
    self.descriptor = descriptor
    try set(TC_CUBLASLT_TRANSA, TC_CUBLAS_OP_T)
    if let bias {
      try set(TC_CUBLASLT_EPILOGUE, TC_CUBLASLT_EPILOGUE_BIAS)
      try set(TC_CUBLASLT_BIAS_POINTER, bias)
    }
    let rows = product.out_height * product.out_width
    let residual = product.residual == 0 ? product.result_stride : product.residual_stride
    // By columns, our rows are columns: the result's columns are our rows, its rows our filters.
    for (height, width, leading) in [
      (product.channels, product.filters, product.weight_stride), (product.channels, rows, product.x_stride),
      (product.filters, rows, residual), (product.filters, rows, product.result_stride),
    ] {
      var layout: tc_cublasLtMatrixLayout?
      try CublasLt.check(
        functions.get("cublasLtMatrixLayoutCreate", tc_cublasLtMatrixLayoutCreate.self)(
          &layout, type, UInt64(height), UInt64(width), Int64(leading)), "cublasLtMatrixLayoutCreate")
      layouts.append(layout)
    }
    guard let found = try proposal(rank) else { return nil }
    (algorithm, workspace) = (found.algorithm, found.workspace)
  }

  deinit {
    let functions = library.library
    _ = functions.find("cublasLtMatmulDescDestroy", tc_cublasLtMatmulDescDestroy.self)?(descriptor)
    let destroy = functions.find("cublasLtMatrixLayoutDestroy", tc_cublasLtMatrixLayoutDestroy.self)
    for layout in layouts { _ = destroy?(layout) }
  }

  private func set<T>(_ attribute: Int32, _ value: T) throws {
    let code = withUnsafeBytes(of: value) { setAttribute(descriptor, attribute, $0.baseAddress, $0.count) }
    try CublasLt.check(code, "cublasLtMatmulDescSetAttribute")
  }

  /// The residual, or the result where there is none: what is multiplied by 0.
  private var added: tc_CUdeviceptr { product.residual == 0 ? product.result : product.residual }

  private func proposal(_ rank: Int) throws -> tc_cublasLtMatmulHeuristicResult? {
    let functions = library.library
    var preference: tc_cublasLtMatmulPreference?
    try CublasLt.check(
      functions.get("cublasLtMatmulPreferenceCreate", tc_cublasLtMatmulPreferenceCreate.self)(&preference),
      "cublasLtMatmulPreferenceCreate")
    defer {
      _ = functions.find("cublasLtMatmulPreferenceDestroy", tc_cublasLtMatmulPreferenceDestroy.self)?(
        preference)
    }
    let prefer = try functions.get(
      "cublasLtMatmulPreferenceSetAttribute", tc_cublasLtMatmulPreferenceSetAttribute.self)
    func set<T>(_ attribute: Int32, _ value: T) throws {
      let code = withUnsafeBytes(of: value) { prefer(preference, attribute, $0.baseAddress, $0.count) }
      try CublasLt.check(code, "cublasLtMatmulPreferenceSetAttribute")
    }
    try set(TC_CUBLASLT_WORKSPACE_BYTES, library.workspace)
    // Else splits may be summed in the result's f16, which rounds and may overflow.
    try set(TC_CUBLASLT_REDUCTION_SCHEMES, UInt32(TC_CUBLASLT_REDUCTION_COMPUTE_TYPE))
    for (index, address) in [weight, product.x, added, product.result].enumerated() {
      // The library takes 256 bytes for granted.
      try set(
        TC_CUBLASLT_ALIGNMENT_A_BYTES + Int32(index), UInt32(min(256, 1 << address.trailingZeroBitCount)))
    }
    var results = [tc_cublasLtMatmulHeuristicResult](repeating: .init(), count: Self.algorithms)
    var count: Int32 = 0
    let code = try functions.get("cublasLtMatmulAlgoGetHeuristic", tc_cublasLtMatmulAlgoGetHeuristic.self)(
      library.handle, descriptor, layouts[0], layouts[1], layouts[2], layouts[3], preference,
      Int32(Self.algorithms), &results, &count)
    // NOT_SUPPORTED: it has nothing for this product.
    guard code == 0, rank < count, results[rank].state == 0 else { return nil }
    return results[rank]
  }

  func run() throws {
    var (alpha, beta) = (Float(1), Float(product.residual == 0 ? 0 : 1))
    let code = multiply(
      library.handle, descriptor, &alpha, weight, layouts[0], product.x, layouts[1], &beta, added, layouts[2],
      product.result, layouts[3], &algorithm, scratch, workspace, stream.raw)
    try CublasLt.check(code, "cublasLtMatmul")
  }
}
