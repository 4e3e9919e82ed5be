import CCUDA

/// Runs kernels of any source on a GPU, one launch at a time: so that Tests/GPU can test device.cuh's
/// primitives one by one on real hardware.
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

  /// A tensor of 16-bit elements among a kernel's parameters, by the boxes of it that are brought: see
  /// `TensorMap`. `buffer`: which of the buffers it lies in.
  public struct Map {
    var buffer: Int
    var sizes: (UInt64, UInt64, UInt64)
    var strides: (UInt64, UInt64)
    var rows: UInt32

    /// Boxes of 64 by `rows` elements.
    public init(
      buffer: Int, sizes: (UInt64, UInt64, UInt64), strides: (UInt64, UInt64), rows: UInt32
    ) {
      (self.buffer, self.sizes, self.strides, self.rows) = (buffer, sizes, strides, rows)
    }
  }

  /// Compiles `source`, which may include what the kernels of the program include. `isExact`: for this
  /// architecture alone, with what later ones have not.
  public func compile(_ name: String, _ source: String, isExact: Bool = false) throws -> Module {
    let code = try compiler.compile(
      name: name, source: source, headers: KernelSources.headers,
      options: ["-arch=sm_\(device.capability)\(isExact ? "a" : "")", "-std=c++17"])
    try context.enter()
    var module: tc_CUmodule?
    let result = try code.withUnsafeBytes {
      try context.driver.get("cuModuleLoadDataEx", tc_cuModuleLoadDataEx.self)(
        &module, $0.baseAddress, 0, nil, nil)
    }
    try context.driver.check(result, "cuModuleLoadDataEx", name)
    return Module(module: module)
  }

  /// Launches a kernel whose parameters are `maps`, then addresses, one of each of the buffers that no map is
  /// of, then `numbers`, all of 64 bits. Gives what the buffers hold then.
  public func run(
    _ kernel: String, of module: Module, blocks: Int = 1, threads: Int, sharedMemory: Int = 0,
    maps: [Map] = [], buffers: [[UInt8]], numbers: [UInt64] = []
  ) throws -> [[UInt8]] {
    try context.enter()
    var function: tc_CUfunction?
    try context.driver.check(
      context.driver.get("cuModuleGetFunction", tc_cuModuleGetFunction.self)(
        &function, module.module, kernel), "cuModuleGetFunction", kernel)
    if sharedMemory > 48 << 10 {
      try context.driver.check(
        context.driver.get("cuFuncSetAttribute", tc_cuFuncSetAttribute.self)(
          function, TC_CUDA_FUNCTION_MOST_SHARED, Int32(sharedMemory)), "cuFuncSetAttribute", kernel)
    }
    let uploader = try Uploader(stream)
    let memory = try buffers.map { bytes in
      let buffer = try DeviceBuffer(context, bytes.count)
      try bytes.withUnsafeBytes { try uploader.upload($0, to: buffer.address) }
      return buffer
    }
    try uploader.finish()
    let mapped = Set(maps.map(\.buffer))
    let addresses = memory.indices.filter { !mapped.contains($0) }.map { memory[$0].address }
    var parameters = try maps.flatMap { try words($0, memory[$0.buffer].address) } + addresses + numbers
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

  private func words(_ map: Map, _ address: tc_CUdeviceptr) throws -> [UInt64] {
    let encoded = try TensorMap(
      address: address, sizes: map.sizes, strides: map.strides, box: (64, map.rows, 1)
    ).encoded(context.driver)
    return withUnsafeBytes(of: encoded) { Array($0.bindMemory(to: UInt64.self)) }
  }
}
