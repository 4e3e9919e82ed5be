import CCUDA

/// NVRTC: CUDA sources to code for one architecture.
struct Compiler: Sendable {
  let library: DynamicLibrary
  /// 12040 for 12.4.
  let version: Int

  /// `driver`: its version where it is known.
  init(driver: Int?) throws {
    library = try LibrarySearch.compiler(driver: driver)
    var (major, minor): (Int32, Int32) = (0, 0)
    guard try library.get("nvrtcVersion", tc_nvrtcVersion.self)(&major, &minor) == 0 else {
      throw CUDAError.library(
        "NVRTC", tried: ["\(library.path) does not tell its version"], remedy: "reinstall it")
    }
    version = Int(major) * 1000 + Int(minor) * 10
  }

  /// What `-arch=sm_…` may name. Empty where the library does not say.
  func architectures() -> [Int] {
    guard let count = library.find("nvrtcGetNumSupportedArchs", tc_nvrtcGetNumSupportedArchs.self),
      let list = library.find("nvrtcGetSupportedArchs", tc_nvrtcGetSupportedArchs.self)
    else { return [] }
    var number: Int32 = 0
    guard count(&number) == 0, number > 0 else { return [] }
    var found = [Int32](repeating: 0, count: Int(number))
    return list(&found) == 0 ? found.map(Int.init) : []
  }

  /// The code of `source` with `headers` for an architecture ("-arch=sm_89" among the options). Errors:
  /// `CUDAError.compile` with NVRTC's log.
  func compile(name: String, source: String, headers: [(name: String, text: String)], options: [String])
    throws -> [UInt8]
  {
    try withProgram(name, source, headers, options) { program in
      try read(
        program, "nvrtcGetCUBIN", size: library.get("nvrtcGetCUBINSize", tc_nvrtcGetCUBINSize.self),
        bytes: library.get("nvrtcGetCUBIN", tc_nvrtcGetCUBIN.self))
    }
  }

  /// PTX for an architecture and all later ones ("-arch=compute_80" among the options), without the zero at
  /// its end.
  func compilePTX(
    name: String, source: String, headers: [(name: String, text: String)], options: [String]
  ) throws -> [UInt8] {
    try withProgram(name, source, headers, options) { program in
      try read(
        program, "nvrtcGetPTX", size: library.get("nvrtcGetPTXSize", tc_nvrtcGetPTXSize.self),
        bytes: library.get("nvrtcGetPTX", tc_nvrtcGetPTX.self)
      ).dropLast()
    }
  }

  private func withProgram<R>(
    _ name: String, _ source: String, _ headers: [(name: String, text: String)], _ options: [String],
    _ body: (tc_nvrtcProgram?) throws -> R
  ) throws -> R {
    var program: tc_nvrtcProgram?
    let create = try library.get("nvrtcCreateProgram", tc_nvrtcCreateProgram.self)
    let code = withCStrings(headers.map(\.text)) { texts in
      withCStrings(headers.map(\.name)) { create(&program, source, name, Int32(headers.count), texts, $0) }
    }
    try check(code, "nvrtcCreateProgram", name)
    defer { _ = library.find("nvrtcDestroyProgram", tc_nvrtcDestroyProgram.self)?(&program) }
    let compile = try library.get("nvrtcCompileProgram", tc_nvrtcCompileProgram.self)
    let result = withCStrings(options) { compile(program, Int32(options.count), $0) }
    guard result == 0 else {
      throw CUDAError.compile("\(name) (\(options.joined(separator: " ")))", log: log(program))
    }
    return try body(program)
  }

  private func read(
    _ program: tc_nvrtcProgram?, _ call: String, size getSize: tc_nvrtcGetCUBINSize,
    bytes get: tc_nvrtcGetCUBIN
  ) throws -> [UInt8] {
    var size = 0
    try check(getSize(program, &size), "\(call)Size", "its size")
    var code: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      code = buffer.withMemoryRebound(to: CChar.self) { get(program, $0.baseAddress) }
      count = size
    }
    try check(code, call, "its code")
    return bytes
  }

  private func log(_ program: tc_nvrtcProgram?) -> String {
    guard let getSize = library.find("nvrtcGetProgramLogSize", tc_nvrtcGetProgramLogSize.self),
      let get = library.find("nvrtcGetProgramLog", tc_nvrtcGetProgramLog.self)
    else { return "no log" }
    var size = 0
    guard getSize(program, &size) == 0, size > 0 else { return "no log" }
    var text = [CChar](repeating: 0, count: size + 1)
    guard get(program, &text) == 0 else { return "no log" }
    // The first errors say most.
    return String(decoding: text.prefix { $0 != 0 }.prefix(4000).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  private func check(_ code: Int32, _ call: String, _ purpose: String) throws {
    guard code != 0 else { return }
    let text = library.find("nvrtcGetErrorString", tc_nvrtcGetErrorString.self).flatMap { $0(code) }
    throw CUDAError.call(
      call, code: Int(code), text: text.map { String(cString: $0) } ?? "unknown", for: purpose)
  }
}

/// C strings of Swift's, valid during the call.
func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) throws -> R)
  rethrows -> R
{
  let ends = strings.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.utf8.count + 1) }
  let bytes: [CChar] = strings.flatMap { $0.utf8.map(CChar.init(bitPattern:)) + [0] }
  return try bytes.withUnsafeBufferPointer { buffer in
    let pointers = ends.dropLast().map { offset in buffer.baseAddress.map { $0 + offset } }
    return try pointers.withUnsafeBufferPointer { try body($0.baseAddress) }
  }
}
