import Base
import Diffusion
import Frames
import Glibc

/// This program once more, in a process of its own, so that what it measures is its own alone.
struct Child {
  /// What it printed, where that was asked for, and its largest memory in bytes.
  var output: [UInt8] = []
  var peakMemory = 0

  /// Waits until it has ended; throws where it fails. Its messages go where this process's go.
  init(_ arguments: [String], keepsOutput: Bool) throws {
    guard let program = FileSystem.executable else { throw BenchError(text: "/proc/self/exe cannot be read") }
    var ends: [Int32] = [-1, -1]
    if keepsOutput {
      guard pipe(&ends) == 0 else { throw SystemFailure("pipe") }
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    }
    let process: pid_t
    do {
      defer { if keepsOutput { close(ends[1]) } }
      process = try spawn(program, arguments, output: keepsOutput ? ends[1] : nil, errors: STDERR_FILENO)
    } catch {
      if keepsOutput { close(ends[0]) }
      throw error
    }
    if keepsOutput { output = Self.read(ends[0]) }
    var status: Int32 = 0
    var usage = rusage()
    guard wait4(process, &status, 0, &usage) == process, status == 0 else {
      throw BenchError(text: "\(program) \(arguments.joined(separator: " ")) failed")
    }
    peakMemory = usage.ru_maxrss * 1024
  }

  private static func read(_ descriptor: Int32) -> [UInt8] {
    defer { close(descriptor) }
    var found: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = piece.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return found }
      found += piece[..<count]
    }
  }
}
