import CCUDA

/// What of CUDA is installed on this machine, and what is missing.
public struct CUDASystem: Sendable {
  /// A library that was found.
  public struct Library: Sendable, Equatable {
    /// The file, as the dynamic linker names it.
    public let path: String
    /// CUDA's version that it is of, 12040 for 12.4; 0 where it does not tell.
    public let version: Int
    /// NVRTC: what it compiles for, 89 for compute capability 8.9. Empty where it does not tell, and for
    /// others.
    public let architectures: [Int]

    /// Why NVRTC compiles nothing for a GPU and its driver; nil where it does.
    func obstacle(for device: GPUDevice, driver: Int?) -> CUDAError? {
      let remedy = LibrarySearch.compilerRemedy(driver: driver)
      if !architectures.isEmpty, !architectures.contains(device.capability) {
        return .unsupported(
          "NVRTC \(versionText) (\(path)) cannot compile for \(device.name), of compute capability "
            + device.capabilityText, remedy: remedy)
      }
      // Within a major version of CUDA drivers load what a later compiler made, beyond it they do not.
      if let driver, version / 1000 > driver / 1000 {
        return .unsupported(
          "NVRTC \(versionText) (\(path)) is newer than the driver, which is for CUDA \(Driver.text(driver))",
          remedy: remedy)
      }
      return nil
    }

    /// "12.4"
    public var versionText: String { version > 0 ? Driver.text(version) : "of unknown version" }
  }

  /// A GPU, and why kernels do not run on it.
  public struct GPU: Sendable {
    public let device: GPUDevice
    public let obstacle: CUDAError?
  }

  public let driver: Result<Library, CUDAError>
  /// In the driver's order: `cuda:0` first. Empty where the driver does not work.
  public let gpus: [GPU]
  /// Compiles the kernels at their first use.
  public let compiler: Result<Library, CUDAError>
  /// cuBLASLt, which is used for products where it is faster, and not needed.
  public let products: Result<Library, CUDAError>

  /// Opens everything and asks for everything. Makes no context: takes no memory of a GPU.
  public static func survey() -> CUDASystem {
    let driver = capture { try Driver() }
    return CUDASystem(
      driver: driver.map {
        Library(path: $0.library.file("cuInit"), version: $0.version, architectures: [])
      },
      gpus: (try? gpus(driver.get())) ?? [],
      compiler: compiler(driver: (try? driver.get())?.version),
      products: capture { try products((try? driver.get())?.version) })
  }

  /// Why the compiler that was found compiles nothing for a GPU; nil where it does.
  public func compilerObstacle(for device: GPUDevice) -> CUDAError? {
    switch compiler {
    case .failure(let error): return error
    case .success(let library): return library.obstacle(for: device, driver: (try? driver.get())?.version)
    }
  }

  static func compiler(driver version: Int?) -> Result<Library, CUDAError> {
    capture { try Compiler(driver: version) }.map { Library($0) }
  }

  private static func gpus(_ driver: Driver) throws -> [GPU] {
    try (0..<GPUDevice.count(driver)).map { ordinal in
      let device = try GPUDevice(driver, ordinal)
      let obstacle = capture { try device.checkSupport() }
      guard case .failure(let error) = obstacle else { return GPU(device: device, obstacle: nil) }
      return GPU(device: device, obstacle: error)
    }
  }

  private static func products(_ driver: Int?) throws -> Library {
    let library = try LibrarySearch.cublasLt(driver: driver)
    let version = library.find("cublasLtGetVersion", tc_cublasLtGetVersion.self)?() ?? 0
    // 120304 for 12.3.4; 11 and earlier print the same way.
    return Library(
      path: library.file("cublasLtGetVersion"), version: version / 10000 * 1000 + version / 100 % 100 * 10,
      architectures: [])
  }

  /// Everything of this module throws `CUDAError`.
  private static func capture<R>(_ body: () throws -> R) -> Result<R, CUDAError> {
    do { return .success(try body()) } catch let error as CUDAError { return .failure(error) } catch {
      return .failure(.call("survey", code: 0, text: "\(error)", for: "looking for CUDA"))
    }
  }
}

extension CUDASystem.Library {
  init(_ compiler: Compiler) {
    self.init(
      path: compiler.library.file("nvrtcVersion"), version: compiler.version,
      architectures: compiler.architectures())
  }
}
