import CCUDA
import Synchronization
import TestSupport
import Testing

/// An error of the driver, as its number.
struct CUDAFailure: Error, Equatable {
  let code: Int32
}

/// A retained context with one stream, and memory, modules and launches in it.
final class Session {
  let simulator = Simulator.shared
  let stream: tc_CUstream
  private let device: tc_CUdevice

  /// Settings as in the environment, without TURBOCAM_SIMULATOR_.
  init(_ settings: [String: String] = [:], device ordinal: Int32 = 0) throws {
    for name in ["DEVICES", "ARCH", "DRIVER", "MEMORY", "HOST_MEMORY", "TAKEN", "SEED", "FAULT"] {
      simulator.set(name, settings[name] ?? (name == "SEED" ? "1" : ""))
    }
    try Self.check(simulator.call("cuInit", as: tc_cuInit.self)(0))
    var context: tc_CUcontext?
    var made: tc_CUstream?
    device = ordinal
    try Self.check(
      simulator.call("cuDevicePrimaryCtxRetain", as: tc_cuDevicePrimaryCtxRetain.self)(&context, device))
    try Self.check(simulator.call("cuCtxSetCurrent", as: tc_cuCtxSetCurrent.self)(context))
    let error = simulator.call("cuStreamCreate", as: tc_cuStreamCreate.self)(&made, 1)
    guard error == 0, let made else {
      _ = simulator.call("cuDevicePrimaryCtxRelease_v2", as: tc_cuDevicePrimaryCtxRelease_v2.self)(device)
      throw CUDAFailure(code: error)
    }
    stream = made
  }

  deinit {
    _ = simulator.call("cuDevicePrimaryCtxRelease_v2", as: tc_cuDevicePrimaryCtxRelease_v2.self)(device)
  }

  static func check(_ error: Int32) throws {
    if error != 0 { throw CUDAFailure(code: error) }
  }

  // MARK: Memory

  func allocate(_ bytes: Int) throws -> UInt64 {
    var address: tc_CUdeviceptr = 0
    try Self.check(simulator.call("cuMemAlloc_v2", as: tc_cuMemAlloc_v2.self)(&address, bytes))
    return address
  }

  func free(_ address: UInt64) throws {
    try Self.check(simulator.call("cuMemFree_v2", as: tc_cuMemFree_v2.self)(address))
  }

  /// Memory with these values in it, once the stream has run.
  func upload<Element>(_ values: [Element]) throws -> UInt64 {
    let bytes = values.count * MemoryLayout<Element>.stride
    let address = try allocate(bytes)
    try values.withUnsafeBytes {
      try Self.check(
        simulator.call("cuMemcpyHtoDAsync_v2", as: tc_cuMemcpyHtoDAsync_v2.self)(
          address, $0.baseAddress, bytes, stream))
    }
    return address
  }

  /// Queues a copy, and waits for all that is queued.
  func download<Element>(_ address: UInt64, _ type: Element.Type, count: Int) throws -> [Element] {
    let values = UnsafeMutablePointer<Element>.allocate(capacity: count)
    defer { values.deallocate() }
    try Self.check(
      simulator.call("cuMemcpyDtoHAsync_v2", as: tc_cuMemcpyDtoHAsync_v2.self)(
        values, address, count * MemoryLayout<Element>.stride, stream))
    try synchronize()
    return Array(UnsafeBufferPointer(start: values, count: count))
  }

  func synchronize() throws {
    try Self.check(simulator.call("cuStreamSynchronize", as: tc_cuStreamSynchronize.self)(stream))
  }

  // MARK: Modules

  /// NVRTC's result, the image or nothing, and the log.
  func compile(_ source: String, _ options: [String] = ["-arch=sm_80"], ptx: Bool = false) -> (
    result: Int32, image: [UInt8], log: String
  ) {
    var program: tc_nvrtcProgram?
    let headers = (0..<Int(tc_cuda_source_count)).map { tc_cuda_sources[$0] }
      .filter { String(cString: $0.name).hasSuffix("h") }
    let names = headers.map { $0.name }
    let texts = headers.map { strdup($0.text, $0.size) }
    defer { texts.forEach { $0.deallocate() } }
    var pointers: [UnsafePointer<CChar>?] = texts.map { UnsafePointer($0) }
    var titles: [UnsafePointer<CChar>?] = names
    _ = simulator.call("nvrtcCreateProgram", as: tc_nvrtcCreateProgram.self)(
      &program, source, "test.cu", Int32(headers.count), &pointers, &titles)
    defer { _ = simulator.call("nvrtcDestroyProgram", as: tc_nvrtcDestroyProgram.self)(&program) }
    let arguments = options.map { option in strdup(option, option.utf8.count) }
    defer { arguments.forEach { $0.deallocate() } }
    var list: [UnsafePointer<CChar>?] = arguments.map { UnsafePointer($0) }
    let result = simulator.call("nvrtcCompileProgram", as: tc_nvrtcCompileProgram.self)(
      program, Int32(list.count), &list)
    var size = 0
    _ = simulator.call("nvrtcGetProgramLogSize", as: tc_nvrtcGetProgramLogSize.self)(program, &size)
    var log = [CChar](repeating: 0, count: max(size, 1))
    _ = simulator.call("nvrtcGetProgramLog", as: tc_nvrtcGetProgramLog.self)(program, &log)
    _ = simulator.call("nvrtcGetCUBINSize", as: tc_nvrtcGetCUBINSize.self)(program, &size)
    var image = [CChar](repeating: 0, count: size)
    if size > 0, ptx {
      _ = simulator.call("nvrtcGetPTX", as: tc_nvrtcGetPTX.self)(program, &image)
    } else if size > 0 {
      _ = simulator.call("nvrtcGetCUBIN", as: tc_nvrtcGetCUBIN.self)(program, &image)
    }
    let text = log.dropLast().map { UInt8(bitPattern: $0) }
    return (result, image.map { UInt8(bitPattern: $0) }, String(decoding: text, as: UTF8.self))
  }

  func load(_ image: [UInt8]) throws -> tc_CUmodule {
    var module: tc_CUmodule?
    try image.withUnsafeBytes {
      try Self.check(
        simulator.call("cuModuleLoadDataEx", as: tc_cuModuleLoadDataEx.self)(
          &module, $0.baseAddress, 0, nil, nil))
    }
    return try #require(module)
  }

  func function(_ name: String, in module: tc_CUmodule) throws -> tc_CUfunction {
    var function: tc_CUfunction?
    try Self.check(
      simulator.call("cuModuleGetFunction", as: tc_cuModuleGetFunction.self)(&function, module, name))
    return try #require(function)
  }

  /// Images that tests share: compiling takes longer than all that is done with them.
  private static let images = Mutex<[String: [UInt8]]>([:])

  /// Compiles a source of this folder, or one made of it.
  func function(_ name: String, of source: String, arch: Int = 80) throws -> tc_CUfunction {
    let key = "\(arch) \(source)"
    if let image = Self.images.withLock({ $0[key] }) { return try function(name, in: load(image)) }
    let made = compile(source, ["-arch=sm_\(arch)", "-std=c++17"])
    try #require(made.result == 0, "\(made.log)")
    Self.images.withLock { $0[key] = made.image }
    return try function(name, in: load(made.image))
  }

  // MARK: Launches

  /// Queues a kernel whose parameters are all of 64 bits.
  func launch(
    _ function: tc_CUfunction, grid: (Int, Int) = (1, 1), block: Int, shared: Int = 0, _ parameters: [UInt64],
    in other: tc_CUstream? = nil
  ) throws {
    var parameters = parameters
    try parameters.withUnsafeMutableBytes {
      var pointers: [UnsafeMutableRawPointer?] = [$0.baseAddress]
      try Self.check(
        simulator.call("cuLaunchKernel", as: tc_cuLaunchKernel.self)(
          function, UInt32(grid.0), UInt32(grid.1), 1, UInt32(block), 1, 1, UInt32(shared), other ?? stream,
          &pointers, nil))
    }
  }
}

extension Session {
  /// Queues a kernel that may begin before the one before it has ended.
  func launchOverlapping(_ function: tc_CUfunction, block: Int, _ parameters: [UInt64]) throws {
    var parameters = parameters
    var attribute = tc_CUlaunchAttribute()
    (attribute.id, attribute.value) = (TC_CUDA_LAUNCH_OVERLAPPING, 1)
    try parameters.withUnsafeMutableBytes { bytes in
      try withUnsafeMutablePointer(to: &attribute) {
        var config = tc_CUlaunchConfig(
          grid_x: 1, grid_y: 1, grid_z: 1, block_x: UInt32(block), block_y: 1, block_z: 1, shared_bytes: 0,
          stream: stream, attributes: $0, attribute_count: 1)
        var pointers: [UnsafeMutableRawPointer?] = [bytes.baseAddress]
        try Self.check(
          simulator.call("cuLaunchKernelEx", as: tc_cuLaunchKernelEx.self)(&config, function, &pointers, nil))
      }
    }
  }
}

/// A C string of a text that may not be terminated; the caller deallocates it.
private func strdup(_ text: UnsafePointer<CChar>, _ count: Int) -> UnsafeMutablePointer<CChar> {
  let copy = UnsafeMutablePointer<CChar>.allocate(capacity: count + 1)
  copy.initialize(from: text, count: count)
  copy[count] = 0
  return copy
}
