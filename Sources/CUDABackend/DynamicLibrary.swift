import CCUDA
import Glibc

/// A shared library opened at run time. It stays open: threads of a driver outlive who opened it.
struct DynamicLibrary: @unchecked Sendable {
  /// For people: "CUDA's driver".
  let name: String
  /// What it was opened as.
  let path: String
  private let handle: UnsafeMutableRawPointer

  /// Opens the first of `candidates` that opens. Errors: `CUDAError.library` with what each said.
  init(_ name: String, candidates: [String], remedy: String) throws {
    var tried: [String] = []
    for path in candidates {
      if let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) {
        (self.name, self.path, self.handle) = (name, path, handle)
        return
      }
      // "libcuda.so.1: cannot open shared object file: No such file or directory"
      tried.append(dlerror().map { String(cString: $0) } ?? "\(path): not opened")
    }
    throw CUDAError.library(name, tried: tried.isEmpty ? ["not found"] : tried, remedy: remedy)
  }

  /// A function by its name in the library; nil where it has none (an older one).
  func find<F>(_ symbol: String, _ type: F.Type) -> F? {
    dlsym(handle, symbol).map { unsafeBitCast($0, to: type) }
  }

  /// The file that it is, by the place of one of its functions; what it was opened as where that is not told.
  func file(_ symbol: String) -> String {
    guard let address = dlsym(handle, symbol), let name = tc_cuda_file_of(address) else { return path }
    return String(cString: name)
  }

  func get<F>(_ symbol: String, _ type: F.Type) throws -> F {
    if let function = find(symbol, type) { return function }
    throw CUDAError.library(
      name, tried: ["\(path) has no \(symbol)"], remedy: "install a newer one, or compute with --device cpu")
  }
}
