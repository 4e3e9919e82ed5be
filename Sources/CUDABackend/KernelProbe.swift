import CCUDA

/// Runs kernels of any source on a GPU, one launch at a time: for checks of device.cuh's words on a real one.
public final class KernelProbe {
  private let context: GPUContext
  private let stream: GPUStream
  private let compiler: Compiler
  public var device: GPUDevice { context.device }

  /// Errors: `CUDAError`.
  public init(ordinal: Int = 0) throws {
    let driver = try Driver()
    context = try GPUContext(driver, GPUDevice(driver, ordinal))
    stream = try GPUStream(context)
    compiler = try Compiler(driver: driver.version)
  }

  /// A compiled source, for any number of launches.
  public struct Module: @unchecked Sendable { let module: tc_CUmodule? }

  /// Compiles `source`, which may include what the kernels of the program include.
  public func compile(_ name: String, _ source: String) throws -> Module {
    let code = try compiler.compile(
      name: name, source: source, headers: KernelSources.headers,
      options: ["-arch=sm_\(device.capability)", "-std=c++17"])
    try context.enter()
    var module: tc_CUmodule?
    let result = try code.withUnsafeBytes {
      try context.driver.get("cuModuleLoadDataEx", tc_cuModuleLoadDataEx.self)(
        &module, $0.baseAddress, 0, nil, nil)
    }
    try context.driver.check(result, "cuModuleLoadDataEx", name)
    return Module(module: module)
  }

  /// Launches a kernel whose parameters are addresses, one of each of `buffers`, then `numbers`, all of 64 bits. Gives
  /// what the buffers hold then.
  public func run(
    _ kernel: String, of module: Module, blocks: Int = 1, threads: Int, sharedMemory: Int = 0,
    buffers: [[UInt8]], numbers: [UInt64] = []
  ) throws -> [[UInt8]] {
    try context.enter()
    var function: tc_CUfunction?
    try context.driver.check(
      context.driver.get("cuModuleGetFunction", tc_cuModuleGetFunction.self)(
        &function, module.module, kernel), "cuModuleGetFunction", kernel)
    let uploader = try Uploader(stream)
    let memory = try buffers.map { bytes in
      let buffer = try DeviceBuffer(context, bytes.count)
      try bytes.withUnsafeBytes { try uploader.upload($0, to: buffer.address) }
      return buffer
    }
    try uploader.finish()
    var parameters = memory.map(\.address) + numbers
    let launch = try context.driver.get("cuLaunchKernel", tc_cuLaunchKernel.self)
    let code = parameters.withUnsafeMutableBytes { bytes in
      var pointers: [UnsafeMutableRawPointer?] = [bytes.baseAddress]
      return launch(
        function, UInt32(blocks), 1, 1, UInt32(threads), 1, 1, UInt32(sharedMemory), stream.raw,
        &pointers,
        nil)
    }
    try context.driver.check(code, "cuLaunchKernel", kernel)
    return try zip(buffers, memory).map { bytes, buffer in
      let host = try PinnedBuffer(context, bytes.count)
      try stream.download(buffer.address, to: host.pointer, bytes.count)
      try stream.synchronize(kernel)
      return Array(UnsafeRawBufferPointer(start: host.pointer, count: bytes.count))
    }
  }
}
