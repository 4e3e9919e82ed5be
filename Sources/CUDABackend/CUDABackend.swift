import CCUDA
import Engine

/// Runs graphs on an NVIDIA GPU with kernels of our own, compiled at first use. Nothing of CUDA is needed to build;
/// the driver and NVRTC are opened when a backend is made.
public final class CUDABackend: Backend {
  public let preferredElement: ElementType
  /// Tensor cores multiply bf16 from Ampere on.
  public var wideElement: ElementType { device.capability >= 80 ? .bf16 : .f32 }
  public let device: GPUDevice
  private let version: Int
  private let fuses: Bool
  private let reserve: Int
  private let prebuilt: PrebuiltKernels?
  private let products: ProductFormat
  private let tuning: Tuning
  /// The tiles there are for `Tuning.warpgroups`: "128x64x4w".
  public static let warpgroupTiles = Tile.warpgroups.map(\.text)
  /// nil between the loss of a GPU and its being had again.
  private var session: Session?
  private var caches = WeightCaches<DeviceBuffer>()

  /// `ordinal`: as the driver counts. `element`: f16 unless tests want f32. `reserve`: bytes of the GPU's memory that
  /// should stay free; where less is, what only a change of settings needs leaves it in between (nil: a gigabyte or a
  /// tenth). `prebuilt`: kernels for a machine without NVRTC. `tuning`: how the way of computing a product is found. Errors: `CUDAError`.
  public init(
    ordinal: Int = 0, element: ElementType = .f16, fuses: Bool = true, reserve: Int? = nil,
    prebuilt: PrebuiltKernels? = nil, products: ProductFormat = ProductFormat(), tuning: Tuning = .standard
  ) throws {
    self.prebuilt = prebuilt
    self.tuning = tuning
    self.products = products
    preferredElement = element
    self.fuses = fuses
    let driver = try Driver()
    version = driver.version
    let count = try GPUDevice.count(driver)
    guard (0..<count).contains(ordinal) else {
      throw CUDAError.device("there is no GPU \(ordinal)", remedy: Self.range(count))
    }
    device = try GPUDevice(driver, ordinal)
    try device.checkSupport()
    guard products.linears == .f16 || device.capability == KernelLibrary.hopper else {
      throw CUDAError.unsupported(
        "linear layers of 8 bits need a Hopper, compute capability 9.0; \(device.name) has \(device.capabilityText)",
        remedy: "leave out --linears f8")
    }
    self.reserve = reserve ?? max(1 << 30, device.memory / 10)
    let session = try makeSession(driver)
    guard products.linears == .f16 || session.library.hasWarpgroups else {
      throw CUDAError.unsupported(
        "linear layers of 8 bits need a driver and an NVRTC of CUDA 12 or later",
        remedy: "update them (turbocam doctor tells which are here), or leave out --linears f8")
    }
    self.session = session
  }

  /// A context with the kernels that were loaded into it.
  private struct Session {
    let context: GPUContext
    let library: KernelLibrary

    init(_ context: GPUContext, _ library: KernelLibrary) {
      (self.context, self.library) = (context, library)
    }
  }

  private func makeSession(_ driver: Driver) throws -> Session {
    let context = try GPUContext(driver, device)
    return Session(context, KernelLibrary(context, prebuilt: prebuilt, format: products, tuning: tuning))
  }

  /// The session at work; a new one where the GPU was lost. Everything that was compiled before has to be gone: a
  /// context lives as long as its last program.
  private func working() throws -> Session {
    if let session, !session.context.driver.isLost { return session }
    caches = WeightCaches()
    weak let lost = session?.context
    session = nil
    guard lost == nil else {
      throw CUDAError.lost("programs of before its loss are still there")
    }
    let driver = try Driver()
    // Releasing the last hold on the primary context ended it; other programs' parts of this process may hold it too.
    _ = driver.library.find("cuDevicePrimaryCtxReset_v2", tc_cuDevicePrimaryCtxReset_v2.self)?(
      Int32(device.ordinal))
    do {
      let new = try makeSession(driver)
      session = new
      return new
    } catch CUDAError.device(let fact, _) {
      // It was ours, and may be again.
      throw CUDAError.lost(fact)
    }
  }

  private static func range(_ count: Int) -> String {
    switch count {
    case 0: return "the driver finds none; compute with --device cpu"
    case 1: return "the only one is cuda:0"
    default: return "there are \(count), from cuda:0 to cuda:\(count - 1)"
    }
  }

  /// On the first GPU that kernels run on and that no other program has to itself. Errors: `CUDAError`, where
  /// there is none that of the first.
  public static func first(prebuilt: PrebuiltKernels? = nil, products: ProductFormat = ProductFormat()) throws
    -> CUDABackend
  {
    do {
      return try CUDABackend(ordinal: 0, prebuilt: prebuilt, products: products)
    } catch {
      let count = (try? GPUDevice.count(Driver())) ?? 0
      for ordinal in 1..<max(1, count) {
        if let other = try? CUDABackend(ordinal: ordinal, prebuilt: prebuilt, products: products) {
          return other
        }
      }
      throw error
    }
  }

  /// Throws where kernels could not be had when they are needed: NVRTC is missing or does not know the GPU, and they
  /// were not compiled beforehand, or for later drivers.
  public func checkCompiler() throws {
    guard let prebuilt, prebuilt.isComplete(for: device.capability) else { return try requireCompiler() }
    let session = try working()
    try session.context.enter()
    do { try session.library.checkPrebuilt() } catch let refusal as CUDAError where !refusal.endsPrograms {
      // Those that are compiled here do as well.
      do { try requireCompiler() } catch let missing as CUDAError {
        throw CUDAError.unsupported(
          "the driver does not take the kernels in \(prebuilt.folder) (\(refusal.fact)), and \(missing.fact)",
          remedy: missing.remedy)
      }
    }
  }

  private func requireCompiler() throws {
    let compiler = try CUDASystem.compiler(driver: version).get()
    if let obstacle = compiler.obstacle(for: device, driver: version) { throw obstacle }
  }

  public var description: String {
    "GPU \(device.ordinal), \(device.name), CUDA \(Driver.text(version)), \(preferredElement)"
  }

  /// The kernel modules that programs have asked for so far, as kernels/variants.txt lists them.
  public var modules: [String] { session?.library.loaded ?? [] }

  /// All that programs may ask for on this GPU, as kernels/variants.txt lists them; what heads of unusual size need is
  /// not among them.
  public var kernelModules: [String] {
    KernelSources.variants.filter { $0.isFor(device.capability) }.map(\.module.description)
  }

  /// Has one of `kernelModules` at hand for all programs on this machine; whether it had to be compiled. Errors:
  /// `CUDAError`.
  public func prepare(kernels description: String) throws -> Bool {
    let session = try working()
    try session.context.enter()
    let before = session.library.compiled
    for variant in KernelSources.variants where variant.module.description == description {
      try session.library.prepare(variant.module)
    }
    return session.library.compiled > before
  }

  public func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  {
    guard !graph.nodes.contains(where: { $0.type.element == .i8 }) else {
      throw EngineError.unsupported("i8", backend: "the CUDA backend")
    }
    let session = try working()
    try session.context.enter()
    let plan = Plan(fuses ? Fusion.run(graph, endings: Lowering.endings) : graph, rules: Lowering.rules)
    let cache = caches.cache(of: weights)
    do {
      return try CUDAExecutable(
        plan, session.context, session.library, source: weights, cache: cache, reserve: reserve,
        progress: progress)
    } catch CUDAError.memory(_) where CUDAExecutable.leastByteCount(plan, cache) > device.memory {
      // Not asked beforehand: some drivers give more than the GPU has.
      throw tooLarge(CUDAExecutable.leastByteCount(plan, cache))
    }
  }

  private func tooLarge(_ byteCount: Int) -> CUDAError {
    .tooLarge(
      "the model at this size takes at least \(GPUContext.megabytes(byteCount)), and \(device.name) has "
        + "\(GPUContext.megabytes(device.memory)) in all")
  }

  /// Seconds by the GPU's own clock of frames that follow each other without a pause; `executable` is one that this
  /// backend compiled.
  public func replayTimes(of executable: any Executable, count: Int) throws -> [Double] {
    try own(executable).replayTimes(count)
  }

  /// Whether kernels of a frame of `executable` begin before the one before them has ended.
  public func overlapsLaunches(of executable: any Executable) throws -> Bool {
    try own(executable).overlapsLaunches
  }

  private func own(_ executable: any Executable) throws -> CUDAExecutable {
    guard let executable = executable as? CUDAExecutable else {
      throw EngineError.unsupported("what another backend compiled", backend: "the CUDA backend")
    }
    return executable
  }
}
