import Base
import Glibc
import TestSupport
import Testing

/// The built program, run as a person would.
struct Program {
  /// What came of it.
  struct Result {
    var code: Int32
    var output: [UInt8]
    var errors: String
    var text: String { String(decoding: output, as: UTF8.self) }
  }

  /// Lies beside the test bundle, which is this process.
  static let path = Simulator.products + "/turbocam"

  /// The folder of the package.
  static let checkout = Simulator.checkout

  /// Variables that make the simulated driver its GPU, not timed; `settings` of it are CUDASimulator.h's
  /// (`["ARCH": "90"]`), `more` are any others.
  static func simulatedGPU(
    _ settings: [String: String] = [:], _ more: [String: String] = [:]
  ) -> [String: String] {
    let library = Simulator.products + "/libcuda-simulator.so"
    var variables = [
      "TURBOCAM_LIBCUDA": library, "TURBOCAM_LIBNVRTC": library, "TURBOCAM_TUNING": "0",
      "TURBOCAM_CACHE": library + "-cache",
    ]
    for (name, value) in settings { variables["TURBOCAM_SIMULATOR_" + name] = value }
    return variables.merging(more) { $1 }
  }

  /// Runs it to its end, with these variables set.
  static func run(
    _ arguments: String..., with variables: [String: String] = [:], seconds: Int = 60
  ) throws -> Result {
    try start(arguments, with: variables).wait(seconds: seconds)
  }

  /// Starts it.
  static func start(_ arguments: [String], with variables: [String: String] = [:]) throws -> Running {
    try Running(path, arguments, with: variables)
  }
}

/// A program at work. Its output and errors go to files without a name.
final class Running {
  let process: pid_t
  private let output: Int32
  private let errors: Int32
  private var code: Int32?

  /// `variables`: set for it, beside those of this process that are not turbocam's, which other tests may have set.
  /// `standardOutput`: where it writes instead of to the file.
  init(
    _ path: String, _ arguments: [String], with variables: [String: String] = [:],
    standardOutput: Int32? = nil
  ) throws {
    (output, errors) = (try Self.unnamedFile(), try Self.unnamedFile())
    process = try spawn(
      path, arguments, output: standardOutput ?? output, errors: errors,
      environment: Self.environment(variables))
  }
  deinit {
    if code == nil {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
    close(output)
    close(errors)
  }

  /// What it has said so far on standard error.
  var errorsSoFar: String { String(decoding: Self.contents(errors), as: UTF8.self) }
  var outputSoFar: [UInt8] { Self.contents(output) }

  /// Waits for `condition` of what it has said on standard output, no longer than it lives and at most a minute.
  func expect(_ condition: ([UInt8]) -> Bool) throws {
    for _ in 0..<6000 where !condition(outputSoFar) {
      guard !ends(within: 0) else { break }
      usleep(10_000)
    }
    try #require(condition(outputSoFar), "\(errorsSoFar)")
  }

  func expect(lines: Int) throws { try expect { $0.filter { $0 == 10 }.count >= lines } }

  func send(_ signal: Int32) { kill(process, signal) }

  /// Whether it ends by itself in so many seconds.
  func ends(within seconds: Int) -> Bool {
    for turn in 0...(seconds * 100) {
      if turn > 0 { usleep(10_000) }
      var information = siginfo_t()
      // Looks without reaping: `wait` does that.
      let failed = waitid(P_PID, id_t(process), &information, WEXITED | WNOHANG | WNOWAIT) != 0
      if failed || information.si_signo == SIGCHLD { return true }
    }
    return false
  }

  /// Waits for its end. After `seconds` it is asked to end, so that it can end what it has started itself, and
  /// five later it is killed: code -9, in whichever way it went.
  func wait(seconds: Int = 60) -> Program.Result {
    let isLate = !ends(within: seconds)
    if isLate {
      kill(process, SIGTERM)
      if !ends(within: 5) { kill(process, SIGKILL) }
    }
    var status: Int32 = 0
    waitpid(process, &status, 0)
    let own = status & 0x7F == 0 ? (status >> 8) & 0xFF : -(status & 0x7F)
    let code = isLate ? -SIGKILL : own
    self.code = code
    return Program.Result(code: code, output: outputSoFar, errors: errorsSoFar)
  }

  /// This process's environment without what is turbocam's, and `variables`: `NAME=value` each.
  private static func environment(_ variables: [String: String]) -> [String] {
    var settings: [String] = []
    var next = environ
    while let setting = next.pointee {
      settings.append(String(cString: setting))
      next += 1
    }
    let set = variables.map { "\($0.key)=\($0.value)" }
    return settings.filter { !$0.hasPrefix("TURBOCAM_") } + set
  }

  private static func unnamedFile() throws -> Int32 {
    var template = Array("/tmp/turbocam-test-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    guard descriptor >= 0 else { throw SystemFailure("mkstemp") }
    unlink(template)
    return descriptor
  }

  private static func contents(_ descriptor: Int32) -> [UInt8] {
    let count = Int(lseek(descriptor, 0, SEEK_CUR))
    var bytes = [UInt8](repeating: 0, count: max(count, 0))
    let read = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
    return Array(bytes.prefix(max(read, 0)))
  }
}
