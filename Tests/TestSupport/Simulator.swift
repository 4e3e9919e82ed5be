import Glibc

/// The CUDA driver without a GPU, built beside the test bundle, which is this process.
public enum Simulator {
  /// Makes it this process's driver and NVRTC, with a kernel cache among the build's files: a kernel is compiled once
  /// for many runs of the tests.
  ///
  /// Always true: where it was not built, what needs it fails and is not passed over.
  public static let isReady: Bool = {
    let library = products + "/libcuda-simulator.so"
    setenv("TURBOCAM_LIBCUDA", library, 1)
    setenv("TURBOCAM_LIBNVRTC", library, 1)
    setenv("TURBOCAM_CACHE", products + "/simulated", 1)
    setenv("TURBOCAM_LIBCUBLASLT", library, 1)
    // Times of a simulated GPU say nothing, and take long.
    setenv("TURBOCAM_TUNING", "0", 1)
    // The second GPU is a Hopper, for what only that has.
    setenv("TURBOCAM_SIMULATOR_ARCH", "80,90", 1)
    setenv("TURBOCAM_SIMULATOR_DEVICES", "2", 1)
    return true
  }()

  /// How many calls of a kind this thread has made of the driver; the kinds are those of CUDASimulator.h.
  public static func calls(_ kind: String) -> Int {
    typealias Count = @convention(c) (UnsafePointer<CChar>) -> Int
    guard let library = dlopen(products + "/libcuda-simulator.so", RTLD_NOW | RTLD_LOCAL),
      let symbol = dlsym(library, "turbocam_simulator_calls")
    else { return -1 }
    return unsafeBitCast(symbol, to: Count.self)(kind)
  }

  /// The folder of what was built.
  public static let products: String = {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = buffer.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
    let folder = String(decoding: buffer[..<max(count, 0)], as: UTF8.self).split(separator: "/").dropLast()
    return "/" + folder.joined(separator: "/")
  }()

  /// The folder of the package.
  public static let checkout = String(#filePath.dropLast("/Tests/TestSupport/Simulator.swift".count))
}
