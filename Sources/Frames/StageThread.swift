import Base
import CSystem
import Glibc

/// A named thread that blocks in what it waits for: the driver, a socket, a mailbox.
public final class StageThread: @unchecked Sendable {
  private final class Start {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
  private var thread = pthread_t()
  private var isJoined = false

  /// Starts at once. At most 15 bytes of the name are shown by `top -H`. Error: `ThreadError`.
  public init(_ name: String, _ body: @escaping @Sendable () -> Void) throws {
    let start = Unmanaged.passRetained(Start(name: name, body: body))
    let failure = pthread_create(
      &thread, nil,
      { argument in
        let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        turbocam_name_thread(start.name)
        start.body()
        return nil
      }, start.toOpaque())
    guard failure == 0 else {
      start.release()
      isJoined = true
      throw ThreadError(name: name, failure: failure)
    }
  }

  /// The stack of a thread that ended is kept for whoever joins it: now nobody will.
  deinit { if !isJoined { pthread_detach(thread) } }

  /// Waits until the thread has ended. Call at most once.
  public func join() {
    pthread_join(thread, nil)
    isJoined = true
  }
}

/// A thread that could not be made.
public struct ThreadError: Error, Equatable, Sendable, CustomStringConvertible {
  public let name: String
  /// errno.
  public let failure: Int32

  public init(name: String, failure: Int32) { (self.name, self.failure) = (name, failure) }

  public var description: String {
    "starting the thread '\(name)': \(systemFact("pthread_create", failure)); raise the limit of processes (ulimit -u, "
      + "docker's --pids-limit, systemd's TasksMax=) or that of memory"
  }
}
