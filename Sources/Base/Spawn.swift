import Glibc

/// Starts a program, and gives its process to whoever waits for it.
///
/// `input`, `output`, `errors`: descriptors that become its standard ones; nil: /dev/null. Others of this
/// process it has where they are not close-on-exec. `environment`: "NAME=value" each; nil: this process's.
public func spawn(
  _ program: String, _ arguments: [String], input: Int32? = nil, output: Int32? = nil, errors: Int32? = nil,
  environment: [String]? = nil
) throws -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  for (standard, given) in [input, output, errors].enumerated() {
    if let given {
      posix_spawn_file_actions_adddup2(&actions, given, Int32(standard))
    } else {
      posix_spawn_file_actions_addopen(&actions, Int32(standard), "/dev/null", O_RDWR, 0)
    }
  }
  // It has to end where it is asked to, whatever this thread blocks.
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var none = sigset_t()
  sigemptyset(&none)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
  let words = vector([program] + arguments)
  let settings = vector(environment ?? [])
  defer { for text in words + settings { free(text) } }
  var process: pid_t = 0
  let failure =
    environment == nil
    ? posix_spawn(&process, program, &actions, &attributes, words, environ)
    : posix_spawn(&process, program, &actions, &attributes, words, settings)
  guard failure == 0 else { throw SystemFailure("posix_spawn \(program)", failure) }
  return process
}

/// As C has lists of texts: copies, a null pointer behind them.
private func vector(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] { texts.map { strdup($0) } + [nil] }
