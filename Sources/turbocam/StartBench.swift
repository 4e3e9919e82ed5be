import Diffusion
import Filter
import Frames
import Glibc

/// From the start of the program to its first repainted picture, in a process of its own.
struct StartBench {
  private let options: ModelOptions
  private static let runs = 3

  init(_ options: ModelOptions) { self.options = options }

  func run() throws -> JSON {
    guard let program = Process.executable else { throw BenchError(text: "/proc/self/exe cannot be read") }
    var best = Double.infinity
    var memory = 0
    for _ in 0..<Self.runs {
      let start = Clock.now()
      memory = max(memory, try spawn(program, arguments))
      best = min(best, Double(Clock.now() - start) / 1e9)
    }
    return .object([
      "first_picture_s": .number(rounded(best, 3)), "runs": .integer(Self.runs),
      "peak_memory_mb": .number(rounded(Double(memory) / 1e6, 1)),
    ])
  }

  private var arguments: [String] {
    var words = [
      "run", "--quiet", "--input", "test", "--frames", "1", "--output", "-", "--model", options.model,
    ]
    if options.device != .automatic { words += ["--device", options.device.description] }
    if options.sums != .f32 { words += ["--sums", options.sums.rawValue] }
    if let size = options.size { words += ["--size", size.description] }
    if let steps = options.steps { words += ["--steps", String(steps)] }
    return words
  }

  /// Runs a program with its output thrown away; gives its largest memory in bytes.
  private func spawn(_ program: String, _ arguments: [String]) throws -> Int {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
    var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process: pid_t = 0
    let failure = posix_spawn(&process, program, &actions, nil, &words, environ)
    guard failure == 0 else { throw BenchError(text: "\(program): \(String(cString: strerror(failure)))") }
    var status: Int32 = 0
    var usage = rusage()
    guard wait4(process, &status, 0, &usage) == process, status == 0 else {
      throw BenchError(text: "\(program) \(arguments.joined(separator: " ")) failed")
    }
    return usage.ru_maxrss * 1024
  }
}
