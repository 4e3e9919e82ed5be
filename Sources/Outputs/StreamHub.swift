import CMicroHTTPD
import Frames
import Synchronization

/// The newest encoded frame and everybody who waits for it.
///
/// The encoder thread publishes; the server's thread asks for what a viewer has not seen. A viewer that is
/// behind gets the newest frame, never a queue. Viewers with nothing to send sleep as suspended connections
/// of libmicrohttpd; suspending and resuming happen under the hub's lock, so that no wake-up is lost.
final class StreamHub: Sendable {
  /// Most viewers and waiting snapshots at a time.
  let limit: Int
  private let mailbox: Mailbox
  private let counters: Counters?
  private let state: Mutex<State>
  /// The last publication that a viewer has received whole.
  private let delivered = Atomic<UInt64>(0)

  private struct State: ~Copyable {
    var newest: Frame?
    /// Counts publications and repetitions, so that a viewer knows whether there is something for it.
    var generation: UInt64 = 1
    var publications: UInt64 = 0
    /// Those of them that are no notices.
    var pictures: UInt64 = 0
    var lastChange: UInt64 = 0
    var newestIsPicture = false
    var isRepeated = false
    var watchers: [Watcher] = []
    var isClosed = false
  }

  init(mailbox: Mailbox, limit: Int, counters: Counters?) {
    self.mailbox = mailbox
    self.counters = counters
    self.limit = limit
    var state = State()
    state.watchers.reserveCapacity(limit)
    self.state = Mutex(state)
    mailbox.isWanted = false
  }

  /// Streams being watched and snapshots being waited for.
  var count: Int { state.withLock { $0.watchers.count } }
  var isWatched: Bool { count > 0 }

  /// Lets somebody in; false where the house is full or closed. Wakes the work upstream.
  func join(_ watcher: Watcher) -> Bool {
    state.withLock {
      guard !$0.isClosed, $0.watchers.count < limit else { return false }
      watcher.seenGeneration = 0
      watcher.seenPublications = $0.publications
      watcher.seenPictures = $0.pictures
      $0.watchers.append(watcher)
      // Other servers count into the same number.
      counters?.viewers.wrappingAdd(1, ordering: .relaxed)
      if $0.watchers.count == 1 {
        $0.lastChange = Clock.now()
        mailbox.isWanted = true
      }
      return true
    }
  }

  /// Lets somebody out. With the last one, what was shown is forgotten: it will be old when the next comes.
  func leave(_ watcher: Watcher) {
    let old: Frame? = state.withLock {
      guard let index = $0.watchers.firstIndex(where: { $0 === watcher }) else { return nil }
      $0.watchers.swapAt(index, $0.watchers.count - 1)
      $0.watchers.removeLast()
      counters?.viewers.wrappingSubtract(1, ordering: .relaxed)
      guard $0.watchers.isEmpty else { return nil }
      mailbox.isWanted = false
      return $0.newest.take()
    }
    _ = consume old
  }

  /// A new frame for everybody.
  func publish(_ frame: consuming Frame) {
    let isPicture = !frame.isNotice
    var next: Frame? = consume frame
    let old: Frame? = state.withLock {
      guard !$0.isClosed, !$0.watchers.isEmpty else { return nil }
      let old = $0.newest.take()
      $0.newest = next.take()
      $0.publications &+= 1
      $0.newestIsPicture = isPicture
      if isPicture { $0.pictures &+= 1 }
      $0.isRepeated = false
      Self.announce(&$0)
      return old
    }
    _ = consume old
  }

  /// Shows the last frame once more where nothing new came: WebKit draws a frame only when the next begins,
  /// and a viewer that went away is noticed by writing to it. Soon once, then once a second.
  func repeatLast(now: UInt64 = Clock.now()) {
    state.withLock {
      let patience: UInt64 = $0.isRepeated ? 1_000_000_000 : 250_000_000
      // `now` may be older than a change by the server's thread.
      guard !$0.isClosed, $0.newest != nil, now >= $0.lastChange + patience else {
        Self.wakeLate(&$0, now)
        return
      }
      $0.isRepeated = true
      Self.announce(&$0)
    }
  }

  /// Nothing has been shown to those who watch for `patience` nanoseconds.
  func isStarving(now: UInt64 = Clock.now(), patience: UInt64) -> Bool {
    state.withLock { !$0.watchers.isEmpty && $0.newest == nil && now >= $0.lastChange + patience }
  }

  /// What a watcher finds when it asks.
  enum Offer: ~Copyable {
    case frame(Frame)
    /// Its connection was suspended.
    case wait
    case closed
  }

  /// The newest frame where the stream's viewer has not sent it yet; else suspends its connection.
  func next(for watcher: Watcher) -> Offer {
    state.withLock {
      if $0.isClosed { return .closed }
      guard watcher.seenGeneration != $0.generation, let frame = $0.newest?.share() else {
        watcher.suspend()
        return .wait
      }
      watcher.seenGeneration = $0.generation
      watcher.seenPublications = $0.publications
      return .frame(frame)
    }
  }

  /// Whether `watcher` is the first to have received what it was offered last.
  func isFirstDelivery(to watcher: Watcher) -> Bool {
    let old = delivered.max(watcher.seenPublications, ordering: .relaxed).oldValue
    return old < watcher.seenPublications
  }

  /// A picture that was published after the watcher joined, or, when its time is over, whatever is shown: an
  /// older picture or the notice that says why there is none. `.closed` where there is nothing at all.
  func fresh(for watcher: Watcher, now: UInt64 = Clock.now()) -> Offer {
    state.withLock {
      if $0.isClosed { return .closed }
      let isFresh = watcher.seenPictures != $0.pictures && $0.newestIsPicture
      if isFresh || now >= watcher.deadline {
        guard let frame = $0.newest?.share() else { return .closed }
        return .frame(frame)
      }
      watcher.suspend()
      return .wait
    }
  }

  /// Sends everybody home; nobody is suspended from here on.
  func close() {
    let old: Frame? = state.withLock {
      $0.isClosed = true
      mailbox.isWanted = false
      for watcher in $0.watchers { watcher.resume() }
      return $0.newest.take()
    }
    _ = consume old
  }

  private static func announce(_ state: inout State) {
    state.generation &+= 1
    state.lastChange = Clock.now()
    for watcher in state.watchers { watcher.resume() }
  }

  /// Snapshots that have waited long enough get what there is.
  private static func wakeLate(_ state: inout State, _ now: UInt64) {
    for watcher in state.watchers where now >= watcher.deadline { watcher.resume() }
  }
}

/// A connection that waits for frames. The hub's lock guards everything in it.
class Watcher: @unchecked Sendable {
  private let connection: OpaquePointer
  private var isSuspended = false
  fileprivate(set) var seenGeneration: UInt64 = 0
  fileprivate(set) var seenPublications: UInt64 = 0
  fileprivate var seenPictures: UInt64 = 0
  /// When a snapshot takes any frame; a stream waits for ever.
  let deadline: UInt64

  init(_ connection: OpaquePointer, deadline: UInt64 = .max) {
    self.connection = connection
    self.deadline = deadline
  }

  fileprivate func suspend() {
    isSuspended = true
    MHD_suspend_connection(connection)
  }

  fileprivate func resume() {
    guard isSuspended else { return }
    isSuspended = false
    MHD_resume_connection(connection)
  }
}
