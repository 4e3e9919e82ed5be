import CCUDA
import Glibc
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
    guard let bytes = File.read(Self.path), File.write(bytes, to: copy),
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

/// Whole files.
enum File {
  static func read(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "rb") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer.prefix(count) }
    return bytes
  }

  static func write(_ bytes: [UInt8], to path: String) -> Bool {
    guard let file = fopen(path, "wb") else { return false }
    let written = fwrite(bytes, 1, bytes.count, file)
    return fclose(file) == 0 && written == bytes.count
  }

  /// A source of this folder.
  static func source(_ name: String) throws -> String {
    let folder = String(#filePath.dropLast("/Simulator.swift".count))
    return String(decoding: try #require(read("\(folder)/kernels/\(name)")), as: UTF8.self)
  }
}

/// All suites: one after another, as they share a driver.
@Suite(.serialized) struct SimulatorTests {}
