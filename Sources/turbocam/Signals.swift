import Base
import Frames
import Glibc

/// SIGINT, SIGTERM and SIGHUP as events of the thread that made this, except those that the process was
/// started with ignored (nohup). Make it before other threads start: they inherit that these signals are
/// blocked.
final class Signals: @unchecked Sendable {
  private var set = sigset_t()
  /// What was blocked before.
  private var before = sigset_t()
  private let owner = pthread_self()
  /// The signal that asked for the end already, and when, in nanoseconds.
  var asked: (signal: Int32, time: UInt64)?

  init() {
    sigemptyset(&set)
    for signal in [SIGINT, SIGTERM, SIGHUP] where !Self.isIgnored(signal) { sigaddset(&set, signal) }
    // Our own, for `wake`.
    sigaddset(&set, SIGUSR1)
    pthread_sigmask(SIG_BLOCK, &set, &before)
  }

  /// Gives the owner's thread its old mask back. Call it on that thread: `deinit` would run on whichever lets
  /// go last.
  func end() {
    // A late `wake` would otherwise end the process.
    sigaddset(&before, SIGUSR1)
    pthread_sigmask(SIG_SETMASK, &before, nil)
  }

  private static func isIgnored(_ signal: Int32) -> Bool {
    var action = sigaction()
    sigaction(signal, nil, &action)
    // SIG_IGN is no function that could be compared.
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
  }

  /// The signal that asks for the end, nil when the time is over or another thread called `wake`.
  func wait(milliseconds: Int) -> Int32? {
    var time = timespec(nanoseconds: UInt64(milliseconds) * 1_000_000)
    let signal = sigtimedwait(&set, nil, &time)
    return signal > 0 && signal != SIGUSR1 ? signal : nil
  }

  /// Whether the signal is the one that asked already, sent twice by one hand: as timeout(1) does, and shells
  /// when their window closes.
  func isRepeated(_ signal: Int32) -> Bool {
    asked.map { $0.signal == signal && Clock.now() - $0.time < 1_000_000_000 } ?? false
  }

  /// Ends a `wait` early.
  func wake() { pthread_kill(owner, SIGUSR1) }
}
