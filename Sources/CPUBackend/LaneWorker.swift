import CKernels
import CSystem
import Glibc

/// A thread that does the same thing each time it is told to.
final class LaneWorker {
  /// What both sides look at, which one of them does while the other waits.
  private final class Exchange: @unchecked Sendable {
    // On the heap because semaphores must not move.
    let asked = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    let done = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    let body: () throws -> Void
    var error: (any Error)?
    var isOver = false

    init(_ body: @escaping () throws -> Void) {
      self.body = body
      sem_init(asked, 0, 0)
      sem_init(done, 0, 0)
    }

    deinit {
      for semaphore in [asked, done] {
        sem_destroy(semaphore)
        semaphore.deallocate()
      }
    }

    static func wait(_ semaphore: UnsafeMutablePointer<sem_t>) {
      while sem_wait(semaphore) != 0 {}  // a signal may interrupt it
    }

    func work() {
      while true {
        Self.wait(asked)
        if isOver { return }
        do { try body() } catch { self.error = error }
        sem_post(done)
      }
    }
  }

  private let exchange: Exchange
  /// nil where it could not be made.
  private var thread: pthread_t?
  /// Whether something was started that nobody has waited for.
  private var isStarted = false

  init(_ body: @escaping () throws -> Void) throws {
    exchange = Exchange(body)
    let argument = Unmanaged.passRetained(exchange)
    var made = pthread_t()
    let failure = pthread_create(
      &made, nil,
      { argument in
        turbocam_name_thread("lane")
        Unmanaged<Exchange>.fromOpaque(argument!).takeRetainedValue().work()
        return nil
      }, argument.toOpaque())
    guard failure == 0 else {
      argument.release()
      throw CPUError.threads(count: 1, failure: failure)
    }
    thread = made
  }

  /// Does it once more; `wait` follows each.
  func start() {
    isStarted = true
    sem_post(exchange.asked)
  }

  /// Until what was started is done; throws what it threw.
  func wait() throws {
    Exchange.wait(exchange.done)
    isStarted = false
    guard let error = exchange.error else { return }
    exchange.error = nil
    throw error
  }

  deinit {
    guard let thread else { return }
    if isStarted { Exchange.wait(exchange.done) }
    exchange.isOver = true
    sem_post(exchange.asked)
    pthread_join(thread, nil)
  }
}
