import Glibc

/// Lets one thread at a time make primitives.
///
/// oneDNN says that any thread may, but in 2.6 a brgemm convolution made while another thread makes one now and
/// then computes nonsense for good: about one in six thousand, none with this lock. Running needs no lock.
final class CreationLock: @unchecked Sendable {
  private static let shared = CreationLock()
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>

  private init() {
    mutex = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
  }

  static func hold<R>(_ body: () throws -> R) rethrows -> R {
    pthread_mutex_lock(shared.mutex)
    defer { pthread_mutex_unlock(shared.mutex) }
    return try body()
  }
}
