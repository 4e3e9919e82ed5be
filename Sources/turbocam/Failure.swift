import Synchronization

/// What went wrong on another thread.
final class Failure: Sendable {
  private let box = Mutex<(any Error)?>(nil)
  var error: (any Error)? { box.withLock { $0 } }
  func set(_ error: any Error) { box.withLock { $0 = error } }
}
