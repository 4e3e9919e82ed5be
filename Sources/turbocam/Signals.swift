import Glibc

/// SIGINT, SIGTERM and SIGHUP as events of the thread that made this. Make it before other threads start:
/// they inherit that these signals are blocked.
final class Signals: @unchecked Sendable {
  private var set = sigset_t()
  private let owner = pthread_self()
  /// Whether a signal asked for the end already.
  var wasAsked = false

  init() {
    sigemptyset(&set)
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// The signal that asks for the end, nil when the time is over or another thread called `wake`.
  func wait(milliseconds: Int) -> Int32? {
    var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
    let signal = sigtimedwait(&set, nil, &time)
    return signal > 0 && signal != SIGUSR1 ? signal : nil
  }

  /// Ends a `wait` early.
  func wake() { pthread_kill(owner, SIGUSR1) }
}
