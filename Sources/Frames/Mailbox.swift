import Base
import Glibc
import Synchronization

/// Holds one frame between two stages.
///
/// Nobody waits for a slow neighbour: with `.newest`, a frame that was not fetched in time is replaced and
/// counted. With `.every` (a file turned into a file), `put` waits until the last frame was fetched.
public final class Mailbox: @unchecked Sendable {
  public enum Policy: Sendable { case newest, every }

  private let policy: Policy
  // A pthread mutex and condition: Swift's Mutex has no condition to wait on. Both live on the heap because
  // pthread objects must not move.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var slot: Frame?
  private var closed = false
  private let drops = Atomic<Int>(0)
  private let wanted = Atomic<Bool>(true)

  public init(_ policy: Policy = .newest) {
    self.policy = policy
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(changed, &attributes)
    pthread_condattr_destroy(&attributes)
  }
  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(mutex)
    changed.deallocate()
    mutex.deallocate()
  }

  /// Frames that were replaced before anybody fetched them.
  public var dropped: Int { drops.load(ordering: .relaxed) }

  /// Whether anybody watches what comes out of here; who puts may skip its work while nobody does.
  public var isWanted: Bool {
    get { wanted.load(ordering: .relaxed) }
    set { wanted.store(newValue, ordering: .relaxed) }
  }

  /// Leaves a frame. After `close` it is dropped silently.
  public func put(_ frame: consuming Frame) {
    pthread_mutex_lock(mutex)
    if policy == .every {
      while slot != nil && !closed { pthread_cond_wait(changed, mutex) }
    }
    var replaced: Frame? = nil
    if !closed {
      replaced = slot.take()
      slot = consume frame
      if replaced != nil { drops.wrappingAdd(1, ordering: .relaxed) }
      pthread_cond_broadcast(changed)
    }
    pthread_mutex_unlock(mutex)
    // `replaced` ends here, outside the lock: giving a buffer back takes the pool's.
    _ = consume replaced
  }

  /// The newest frame, waiting for one at most `timeout` nanoseconds (nil: for ever). Gives nil when the time
  /// is over or the mailbox is closed and empty.
  public func take(timeout: UInt64? = nil) -> Frame? {
    let deadline = timeout.map { timespec(nanoseconds: Clock.now() &+ $0) }
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while slot == nil && !closed {
      if var deadline {
        if pthread_cond_timedwait(changed, mutex, &deadline) == ETIMEDOUT { break }
      } else {
        pthread_cond_wait(changed, mutex)
      }
    }
    let frame = slot.take()
    if policy == .every { pthread_cond_broadcast(changed) }
    return frame
  }

  /// The next frame that shows what was captured; notices before it are let go. nil at the end.
  public func takePicture() -> Frame? {
    while let frame = take() {
      if !frame.isNotice { return frame }
    }
    return nil
  }

  /// Wakes everybody; a frame already here can still be fetched.
  public func close() {
    pthread_mutex_lock(mutex)
    closed = true
    pthread_cond_broadcast(changed)
    pthread_mutex_unlock(mutex)
  }

  public var isClosed: Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return closed
  }
}
