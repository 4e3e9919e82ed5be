import Engine
import Filter
import Frames
import Synchronization
import TestSupport

/// Turns every byte round, so that a test sees that the picture went through it.
final class FakePainter: Painter {
  let shape: PainterShape
  private let log: PainterLog
  private let image: UnsafeMutableRawBufferPointer
  /// Images of what is under way, oldest first, and the picture that was finished last.
  private var begun: [[UInt8]] = []
  private var picture: [UInt8] = []

  init(_ shape: PainterShape, _ log: PainterLog) {
    self.shape = shape
    self.log = log
    log.alive.wrappingAdd(1, ordering: .relaxed)
    image = .allocate(byteCount: shape.size.width * shape.size.height * 3, alignment: 64)
  }
  deinit {
    Clock.sleep(UInt64(log.dying.load(ordering: .relaxed)))
    log.alive.wrappingSubtract(1, ordering: .relaxed)
    image.deallocate()
  }

  func apply(_ settings: Settings) throws -> [String] {
    Clock.sleep(UInt64(log.settling.load(ordering: .relaxed)))
    log.prompts.withLock { $0.append(settings.prompt) }
    return settings.prompt.isEmpty ? ["the prompt is empty"] : []
  }
  func withImage(_ body: (UnsafeMutableRawBufferPointer) throws -> Void) throws { try body(image) }
  var depth: Int { log.depth.load(ordering: .relaxed) }

  func start() throws {
    let number = log.asked.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
    guard eventually({ log.allowed.load(ordering: .acquiring) >= number }) else {
      throw PainterFailure(text: "picture \(number) was never let through")
    }
    begun.append(Array(image))
    log.most.max(begun.count, ordering: .relaxed)
  }

  func run() throws {
    try start()
    try finish()
  }

  func finish() throws {
    let bytes = begun.removeFirst()
    Clock.sleep(UInt64(log.nanoseconds.load(ordering: .relaxed)))
    log.runs.wrappingAdd(1, ordering: .relaxed)
    if log.isLost.exchange(log.staysLost.load(ordering: .relaxed), ordering: .relaxed) { throw LostGPU() }
    if log.fails.load(ordering: .relaxed) { throw PainterFailure(text: "no memory") }
    picture = bytes.map { 255 - $0 }
  }
  func withPicture(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    try picture.withUnsafeBytes(body)
  }
}

/// What a test wants of its painters, and what they did.
final class PainterLog: Sendable {
  let prompts = Mutex<[String]>([])
  let runs = Atomic<Int>(0)
  let fails = Atomic<Bool>(false)
  /// Loses the GPU at the next picture.
  let isLost = Atomic<Bool>(false)
  /// And at every one after it.
  let staysLost = Atomic<Bool>(false)
  /// Pictures that were asked for, and how many of them may be begun: the next one waits in `start`, so that
  /// a test can do something before it.
  let asked = Atomic<Int>(0)
  let allowed = Atomic<Int>(.max)
  /// How long a picture takes.
  let nanoseconds = Atomic<Int>(0)
  /// How long settings take to act, in nanoseconds.
  let settling = Atomic<Int>(0)
  /// Pictures that may be under way, and the most that were.
  let depth = Atomic<Int>(1)
  let most = Atomic<Int>(0)
  /// Painters begun to be made.
  let begun = Atomic<Int>(0)
  /// Painters made, and how many shall fail to be made after the first.
  let made = Atomic<Int>(0)
  let failures = Atomic<Int>(0)
  /// Pictures at most this wide are all that there is memory for.
  let room = Atomic<Int>(.max)
  /// How long one takes to let go of its memory, in nanoseconds.
  let dying = Atomic<Int>(0)
  /// The most that were there when another was begun.
  let crowd = Atomic<Int>(0)
  /// Painters that are there.
  let alive = Atomic<Int>(0)
}

struct LostGPU: BackendError, CustomStringConvertible {
  var endsPrograms: Bool { true }
  var wantsMemory: Bool { false }
  var description: String { "the GPU is gone" }
}

/// Something else holds the memory.
struct NoRoom: BackendError, Equatable, CustomStringConvertible {
  var endsPrograms: Bool { false }
  var wantsMemory: Bool { true }
  var description: String { "no room" }
}

struct PainterFailure: Error, Equatable, CustomStringConvertible {
  var text: String
  var description: String { text }
}

/// Makes fakes; holds back while it is not open, and cannot make pictures wider than 256.
final class FakeMaker: PainterMaker {
  let log = PainterLog()
  let isOpen: Atomic<Bool>

  init(open: Bool = true) { isOpen = Atomic(open) }

  func make(_ shape: PainterShape, progress: (String, Double) -> Void) throws -> any Painter {
    progress("loading fake", 0.43)
    log.crowd.max(log.alive.load(ordering: .relaxed), ordering: .relaxed)
    log.begun.wrappingAdd(1, ordering: .relaxed)
    while !isOpen.load(ordering: .relaxed) { rest() }
    if log.made.load(ordering: .relaxed) > 0, log.failures.load(ordering: .relaxed) > 0 {
      log.failures.wrappingSubtract(1, ordering: .relaxed)
      throw PainterFailure(text: "still gone")
    }
    guard shape.size.width <= log.room.load(ordering: .relaxed) else { throw NoRoom() }
    guard shape.size.width <= 256 else { throw PainterFailure(text: "too wide") }
    log.made.wrappingAdd(1, ordering: .relaxed)
    return FakePainter(shape, log)
  }
}
