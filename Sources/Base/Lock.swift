import Glibc

/// A value behind a pthread mutex.
///
/// Synchronization's `Mutex` waits on a futex of its own, in a library that the thread sanitizer does not see
/// into, so it may report accesses that only such a mutex orders. This one it knows: for what Tests/run has
/// it look at, Frames above all. Modules that it does not look at use `Mutex` as well.
public final class Lock<Value>: @unchecked Sendable {
  private var value: Value
  // On the heap because pthread objects must not move.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  public init(_ value: Value) {
    self.value = value
    pthread_mutex_init(mutex, nil)
  }
  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// Keep `body` short: others wait for it.
  public func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }
}

extension Lock<Void> {
  /// A lock of what is no value, a library's own state for one.
  public convenience init() { self.init(()) }

  public func withLock<Result>(_ body: () throws -> Result) rethrows -> Result {
    try withLock { _ in try body() }
  }
}
