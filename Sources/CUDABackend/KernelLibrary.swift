import Base
import CCUDA
import Engine

/// A kernel ready to be launched.
struct Kernel {
  let function: tc_CUfunction?
  /// For profiles: "product ELEMENT=TC_F16 TILE_M=128".
  let label: String
  /// Whether it waits for the kernel before it by itself, and so may be launched before that one has ended.
  let awaitsPrevious: Bool
}

/// Gives kernels: from memory, from the cache on disk, or compiled by NVRTC.
final class KernelLibrary {
  private let context: GPUContext
  private let cache: KernelCache
  private let prebuilt: PrebuiltKernels?
  let format: ProductFormat
  /// Opened when something has to be compiled. One whose code would not load is none: with it everything
  /// would be compiled at every start, before what was compiled beforehand is taken.
  private lazy var compiler = Result { try openCompiler() }
  private var modules: [KernelModule: tc_CUmodule?] = [:]
  /// What the compiler refused: it would refuse it again.
  private var refused: [KernelModule: CUDAError] = [:]
  /// Those compiled beforehand, for architectures older than the card may be.
  private var fromPTX: Set<KernelModule> = []
  /// The first architecture whose code waits for the kernel before it (device.cuh, await_previous).
  private static let overlapping = 90
  private var kernels: [Name: Kernel] = [:]
  /// Dynamic shared memory that a kernel was allowed, where that is more than all may have.
  private var allowed: [tc_CUfunction?: Int] = [:]
  /// How many were compiled, for tests and for people.
  private(set) var compiled = 0
  /// cuBLASLt where it is there and products are measured.
  private(set) lazy var cublasLt = tuning.usesTuner ? try? CublasLt(context) : nil
  /// The fastest way of each product that was measured on this GPU.
  lazy var choices = ChoiceTable(
    context, cache, library: cublasLt?.version, warpgroups: takesWarpgroups)
  let tuning: Tuning
  /// The architecture that has warpgroups.
  static let hopper = 90
  /// The first NVRTC that knows their instructions, and takes "sm_90a".
  private static let warpgroupCompiler = 12000
  /// Whether products can go to warpgroups: with a driver that makes maps of tensors (12.0), and a compiler.
  private(set) lazy var hasWarpgroups =
    context.device.capability == Self.hopper
    && context.driver.library.find("cuTensorMapEncodeTiled", tc_cuTensorMapEncodeTiled.self) != nil
    && (try? compiler.get()).map { $0.version >= Self.warpgroupCompiler } ?? false
  /// Whether those of 16 bits may.
  var takesWarpgroups: Bool { tuning.takesWarpgroups && hasWarpgroups }
  /// Whether linear layers behind a layer norm go there in 8 bits.
  var takesEightBits: Bool { format.linears == .f8 && hasWarpgroups }

  /// Those loaded so far, as in variants.txt.
  var loaded: [String] { modules.keys.map(\.description) }

  private struct Name: Hashable {
    var module: KernelModule
    var name: String
    var sharedMemory: Int
  }

  init(
    _ context: GPUContext, cache: KernelCache = KernelCache(), prebuilt: PrebuiltKernels? = nil,
    format: ProductFormat = ProductFormat(), tuning: Tuning = .off
  ) {
    self.tuning = tuning
    self.format = format
    self.context = context
    self.cache = cache
    self.prebuilt = prebuilt
  }

  /// The kernel `name` of a module, allowed as much dynamic shared memory as it needs. Errors: `CUDAError`.
  func kernel(_ name: String, _ module: KernelModule, sharedMemory: Int = 0) throws -> Kernel {
    let key = Name(module: module, name: name, sharedMemory: sharedMemory)
    if let kernel = kernels[key] { return kernel }
    let driver = context.driver
    var function: tc_CUfunction?
    try driver.check(
      driver.get("cuModuleGetFunction", tc_cuModuleGetFunction.self)(&function, load(module), name),
      "cuModuleGetFunction", "\(name) of \(module.description)")
    if sharedMemory > max(48 << 10, allowed[function] ?? 0) {
      try driver.check(
        driver.get("cuFuncSetAttribute", tc_cuFuncSetAttribute.self)(
          function, TC_CUDA_FUNCTION_MOST_SHARED, Int32(sharedMemory)), "cuFuncSetAttribute",
        "\(sharedMemory) bytes of shared memory of \(module.description)")
      allowed[function] = sharedMemory
    }
    let kernel = Kernel(
      function: function,
      label: ([name] + module.defines).joined(separator: " "),
      awaitsPrevious: context.device.capability >= Self.overlapping && !fromPTX.contains(module))
    kernels[key] = kernel
    return kernel
  }

  /// Loads a module, and compiles it where it is not in the cache. Errors: `CUDAError`.
  func prepare(_ module: KernelModule) throws { _ = try load(module) }

  private func load(_ module: KernelModule) throws -> tc_CUmodule? {
    if let loaded = modules[module] { return loaded }
    if let refusal = refused[module] { throw refusal }
    let loaded: tc_CUmodule?
    do {
      loaded = try make(module)
    } catch {
      // The driver keeps a cache of its own of what it makes of PTX.
      guard (error as? CUDAError)?.endsPrograms != true,
        let code = prebuilt?.read(module, capability: context.device.capability)
      else { throw error }
      loaded = try open(code, module)
      fromPTX.insert(module)
    }
    modules[module] = loaded
    return loaded
  }

  /// From the cache, or compiled for this card.
  private func make(_ module: KernelModule) throws -> tc_CUmodule? {
    let key = try key(module)
    if let code = cache.read(key), let loaded = try? open(code, module) { return loaded }
    let code = try compile(module, compiler.get())
    let loaded = try open(code, module)
    cache.write(key, code)
    return loaded
  }

  private func openCompiler() throws -> Compiler {
    let version = context.driver.version
    let compiler = try Compiler(driver: version)
    let obstacle = CUDASystem.Library(compiler).obstacle(for: context.device, driver: version)
    if let obstacle { throw obstacle }
    return compiler
  }

  /// Throws where the driver does not take what was compiled beforehand: PTX of a later CUDA than its own.
  /// Errors: `CUDAError`.
  func checkPrebuilt() throws {
    // The smallest. It stays loaded beside the one that programs ask for.
    let module = KernelModule("product_finish.cu")
    guard let code = prebuilt?.read(module, capability: context.device.capability) else { return }
    _ = try open(code, module)
  }

  private func open(_ code: [UInt8], _ module: KernelModule) throws -> tc_CUmodule? {
    var loaded: tc_CUmodule?
    let result = try code.withUnsafeBytes {
      try context.driver.get("cuModuleLoadDataEx", tc_cuModuleLoadDataEx.self)(
        &loaded, $0.baseAddress, 0, nil, nil)
    }
    try context.driver.check(result, "cuModuleLoadDataEx", module.description)
    return loaded
  }

  private func compile(_ module: KernelModule, _ compiler: Compiler) throws -> [UInt8] {
    do {
      let code = try compiler.compile(
        name: module.file, source: KernelSources.text(module.file), headers: KernelSources.headers,
        options: ["-arch=sm_\(architecture(module))", "-std=c++17"] + module.options)
      compiled += 1
      return code
    } catch let error as CUDAError {
      if case .compile = error { refused[module] = error }
      throw error
    }
  }

  /// "90a" for what only Hopper has, else the card's: "89".
  private func architecture(_ module: KernelModule) -> String {
    "\(context.device.capability)" + (KernelSources.exact.contains(module.file) ? "a" : "")
  }

  /// What the code depends on. A compiler that is there only now and then would compile the same code again,
  /// so its version is not part of it: sources, GPU, driver and definitions are.
  private func key(_ module: KernelModule) throws -> String {
    var hash = FNV()
    hash.add(module.description)
    hash.add(context.device.uuid)
    hash.add(context.driver.library.path)
    hash.add("\(context.driver.version) \(context.device.capability) \(KernelSources.hash)")
    let file = module.file.prefix { $0 != "." }
    return "\(file)-sm_\(context.device.capability)-\(hexadecimal(hash.value, digits: 16))"
  }
}
