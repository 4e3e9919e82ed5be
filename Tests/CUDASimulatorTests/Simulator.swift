import CCUDA
import Glibc
import TestSupport
import Testing

/// The simulated driver, opened as a program opens the real one: by dlopen, and with its names kept to itself.
///
/// Opens a copy of the library, so that other tests of this process that use it have a driver of their own, and its
/// errors and settings are not theirs.
struct Simulator: @unchecked Sendable {
  static let shared = Simulator()
  let library: UnsafeMutableRawPointer

  private init() {
    let copy = "/tmp/turbocam-simulator-test-\(getpid()).so"
    defer { unlink(copy) }
    guard let bytes = try? readFile(Self.path), (try? writeFile(copy, bytes)) != nil,
      let library = dlopen(copy, RTLD_NOW | RTLD_LOCAL)
    else {
      preconditionFailure("cannot open \(Self.path): \(dlerror().map { String(cString: $0) } ?? "")")
    }
    self.library = library
  }

  /// SwiftPM puts the library beside the program of the tests.
  private static var path: String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let length = readlink("/proc/self/exe", &buffer, buffer.count)
    let program = String(decoding: buffer.prefix(max(length, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return program.prefix { _ in true }.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
      + "/libcuda-simulator.so"
  }

  /// An entry point, by its C name.
  func call<Function>(_ name: String, as type: Function.Type) -> Function {
    guard let symbol = dlsym(library, name) else { preconditionFailure("no \(name) in the simulator") }
    return unsafeBitCast(symbol, to: type)
  }

  /// The line of the last launch that failed.
  var report: String {
    String(cString: call("turbocam_simulator_report", as: (@convention(c) () -> UnsafePointer<CChar>).self)())
  }

  func set(_ name: String, _ value: String?) {
    let set = call(
      "turbocam_simulator_set",
      as: (@convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>?) -> Void).self)
    set("TURBOCAM_SIMULATOR_" + name, value)
  }
}

enum Kernels {
  /// A source of this folder.
  static func source(_ name: String) throws -> String {
    let folder = String(#filePath.dropLast("/Simulator.swift".count))
    return try readText("\(folder)/kernels/\(name)")
  }
}

/// All suites: one after another, as they share a driver.
@Suite(.serialized) struct SimulatorTests {}
