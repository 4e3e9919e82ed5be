import Base
import CCUDA
import Glibc

/// Kernels compiled beforehand to PTX, which any driver of 11.8 or later finishes for its own card: what
/// machines without NVRTC run.
public struct PrebuiltKernels: Sendable {
  public let folder: String

  /// A folder that `make(in:)` filled.
  public init(folder: String) { self.folder = folder }

  /// Architectures that PTX is made for: code for the older one runs on everything, the newer one has what
  /// Ampere brought (asynchronous copies, bf16).
  static let architectures = [75, 80]

  /// PTX of a module for a card, with the zero that ends it; nil where there is none of this version of the
  /// program.
  func read(_ module: KernelModule, capability: Int) -> [UInt8]? {
    Self.architectures.reversed().lazy.filter { $0 <= capability }
      .compactMap { readFile("\(folder)/\(Self.name(module, $0))", atMost: 1 << 26) }.first.map { $0 + [0] }
  }

  /// Whether every module that a card of this capability may ask for is there.
  func isComplete(for capability: Int) -> Bool {
    let architecture = Self.architectures.last { $0 <= capability } ?? 0
    return KernelSources.variants.allSatisfy { variant in
      variant.isExact || variant.least > architecture
        || access("\(folder)/\(Self.name(variant.module, architecture))", R_OK) == 0
    }
  }

  /// Compiles every module into the folder that is not there yet, with the oldest NVRTC there is: drivers
  /// take PTX that is no newer than they are. `progress` is told 0...1. Errors: `CUDAError`.
  public func make(progress: (Double) -> Void) throws {
    let compiler = try Compiler(driver: Driver.oldest)
    let wanted = KernelSources.variants.flatMap { variant in
      Self.architectures.filter { !variant.isExact && $0 >= variant.least }.map { (variant.module, $0) }
    }
    for (done, (module, architecture)) in wanted.enumerated() {
      let path = "\(folder)/\(Self.name(module, architecture))"
      defer { progress(Double(done + 1) / Double(wanted.count)) }
      if access(path, R_OK) == 0 { continue }
      let text = try compiler.compilePTX(
        name: module.file, source: KernelSources.text(module.file), headers: KernelSources.headers,
        options: ["-arch=compute_\(architecture)", "-std=c++17"] + module.options)
      try write(text, to: path)
    }
  }

  /// Under another name until it is whole.
  private func write(_ bytes: [UInt8], to path: String) throws {
    guard let file = fopen(path + ".new", "wb") else { throw unwritable(path) }
    let written = fwrite(bytes, 1, bytes.count, file) == bytes.count
    guard fclose(file) == 0, written, rename(path + ".new", path) == 0 else { throw unwritable(path) }
  }

  private func unwritable(_ path: String) -> CUDAError {
    .library(path, tried: [errorText(errno)], remedy: "choose a folder that can be written")
  }

  private static func name(_ module: KernelModule, _ architecture: Int) -> String {
    var hash = FNV()
    hash.add(module.description)
    hash.add("\(KernelSources.hash)")
    let file = module.file.prefix { $0 != "." }
    return "\(file)-\(hexadecimal(hash.value, digits: 16))-compute_\(architecture).ptx"
  }
}

/// A whole file; nil where it cannot be read or is larger.
func readFile(_ path: String, atMost limit: Int) -> [UInt8]? {
  guard let file = fopen(path, "rb") else { return nil }
  defer { fclose(file) }
  guard fseek(file, 0, SEEK_END) == 0, case let size = ftell(file), (0...limit).contains(size),
    fseek(file, 0, SEEK_SET) == 0
  else { return nil }
  var bytes = [UInt8](repeating: 0, count: size)
  return fread(&bytes, 1, size, file) == size ? bytes : nil
}
