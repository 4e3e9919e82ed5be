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
    var pipe: [Int32] = [-1, -1]
    if keepsOutput, Glibc.pipe(&pipe) != 0 {
      throw BenchError(text: systemFact("pipe"))
    }
    let process = try Self.spawn(program, arguments, writesTo: pipe[1])
    if keepsOutput { output = Self.read(pipe[0]) }
    var status: Int32 = 0
    var usage = rusage()
    guard wait4(process, &status, 0, &usage) == process, status == 0 else {
      throw BenchError(text: "\(program) \(arguments.joined(separator: " ")) failed")
    }
    peakMemory = usage.ru_maxrss * 1024
  }

  /// Starts the program with its output written to the descriptor, which is closed here, or thrown away.
  private static func spawn(_ program: String, _ arguments: [String], writesTo descriptor: Int32) throws
    -> pid_t
  {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      if descriptor >= 0 { close(descriptor) }
    }
    if descriptor >= 0 {
      posix_spawn_file_actions_adddup2(&actions, descriptor, STDOUT_FILENO)
      posix_spawn_file_actions_addclose(&actions, descriptor)
    } else {
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
    }
    // It is to end where this process was asked to, whatever this thread blocks.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process: pid_t = 0
    let failure = posix_spawn(&process, program, &actions, &attributes, &words, environ)
    guard failure == 0 else { throw BenchError(text: systemFact(program, failure)) }
    return process
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
