import Base
import Frames
import Glibc
import Synchronization

/// A V4L2 camera. It is opened at once, so that a wrong path is refused before work starts; what happens later
/// (unplugged, silent, busy after a reset) is waited out, and the camera found again under any number.
public final class Camera: Input, @unchecked Sendable {
  // Everything but `shownLabel` belongs to the thread that made the camera and then to the one in `run`.
  private let search: CameraSearch
  private let buffers: Int
  /// What was asked for.
  private let fps: Double?
  private var stream: CaptureStream?
  /// What a person should know about the choice of the camera.
  private let notice: String?
  private var pool: FramePool
  private var watch: JPEGWatch
  private var lastSequence: UInt32?
  private var sequence: UInt64 = 0
  private var limit: RateLimit
  private var rateWatch: RateWatch
  private let shownLabel: Lock<String>

  /// No frame for this long: the person is told.
  private static let silence: UInt64 = 2_000_000_000
  /// And for this long: the camera is opened again.
  private static let longSilence: UInt64 = 8_000_000_000
  /// Nobody watching for this long: the camera rests.
  private static let restAfter: UInt64 = 3_000_000_000
  private static let retryPause: UInt32 = 500_000
  private static let pollMilliseconds: Int32 = 100

  /// Throws `InputError`.
  init(_ choice: CameraChoice, _ options: SourceOptions) throws {
    search = CameraSearch(choice: choice, wish: options.captureWish, avoiding: options.avoiding)
    try options.checkRate("opening a camera")
    buffers = options.buffers
    fps = options.fps
    limit = RateLimit(options.fps)
    let (stream, notice) = try search.open()
    self.stream = stream
    self.notice = notice
    pool = FramePool(count: options.buffers, capacity: stream.layout.capacity)
    watch = try JPEGWatch()
    shownLabel = Lock(Camera.label(stream))
    rateWatch = stream.rateWatch(wanted: options.fps)
  }

  public var label: String { shownLabel.withLock { $0 } }

  private static func label(_ stream: CaptureStream) -> String {
    "\(stream.device.path) (\(stream.device.capability.card)), \(stream.mode)"
  }

  public func run(_ link: InputLink) throws {
    defer { stream = nil }
    for text in [notice, stream!.rateNotice(wanted: fps)] { if let text { link.status.warn(text) } }
    // So many seconds without a frame were asked for: nobody is to be told of a silence.
    if let fps { link.status.interval.store(SourceOptions.interval(fps), ordering: .relaxed) }
    var identity = search.identity(of: stream!.device)
    while !link.stop.isSet {
      guard stream != nil || reconnect(&identity, link) else { break }
      do {
        try play(link)
        // Closed, so that others may have it meanwhile.
        stream = nil
        sleepUntilWanted(link)
        if !link.stop.isSet { wake(&identity, link) }
      } catch {
        // Closing lets the driver finish with a device that is gone.
        stream = nil
        link.status.set(.waiting(Camera.explain(error, identity)))
        rest(link)
      }
    }
  }

  // MARK: - Frames

  /// Streams until the program stops or nobody has watched for a while. Throws where the camera is gone, broken
  /// or silent.
  private func play(_ link: InputLink) throws {
    guard let stream else { return }
    // After a rest the status is as it was: whoever looks in again should see pictures, not a notice about a nap.
    var isLive = link.status.current == .live
    if !isLive { link.status.set(.starting("camera \(stream.device.path) starting")) }
    lastSequence = nil
    rateWatch.restart()
    try stream.start()
    var lastBuffer = Clock.now()
    var lastGood = lastBuffer
    var lastWanted = lastBuffer
    var hasToldOfTrouble = false
    while !link.stop.isSet {
      var isGood = false
      let came = try stream.next(milliseconds: Camera.pollMilliseconds) { isGood = take($0, stream, link) }
      let now = Clock.now()
      if came { lastBuffer = now }
      if isGood {
        lastGood = now
        hasToldOfTrouble = false
        if !isLive {
          link.status.set(.live)
          isLive = true
        }
      } else if now - lastGood > Camera.silence, !hasToldOfTrouble {
        let trouble = now - lastBuffer > Camera.silence ? "gives no frames" : "gives only damaged frames"
        link.status.set(.waiting("camera \(stream.device.path) \(trouble), waiting"))
        hasToldOfTrouble = true
        isLive = false
      }
      guard now - lastBuffer < Camera.longSilence else { throw silenceError(stream) }
      if link.mailbox.isWanted { lastWanted = now }
      if now - lastWanted > Camera.restAfter { return }
    }
  }

  /// Makes a frame of one buffer. False where it holds no good picture.
  private func take(_ filled: CaptureStream.Filled, _ stream: CaptureStream, _ link: InputLink) -> Bool {
    let received = Clock.now()
    let made = count(filled.sequence, link)
    if let rate = rateWatch.passed(made, now: received) { link.status.warn(stream.slownessNotice(rate)) }
    let isJPEG = stream.layout.format.pixels == .jpeg
    let picture = stream.layout.picture(in: filled.bytes)
    guard !filled.isDamaged, !isJPEG || watch.accepts(UnsafeRawBufferPointer(picture)) else {
      link.counters.corrupt.add(1, ordering: .relaxed)
      return false
    }
    guard link.mailbox.isWanted, limit.isDue(received) else { return true }
    guard let draft = pool.take() else {
      link.counters.starved.add(1, ordering: .relaxed)
      return true
    }
    guard let byteCount = stream.layout.take(picture, into: draft.bytes) else {
      link.counters.corrupt.add(1, ordering: .relaxed)
      return false
    }
    draft.stamps[.captured] = filled.captured.map { Camera.plausible($0, received) } ?? received
    draft.stamps[.received] = received
    sequence += 1
    link.counters.framesIn.add(1, ordering: .relaxed)
    link.mailbox.put(draft.finish(stream.layout.format, byteCount: byteCount, sequence: sequence))
    return true
  }

  /// Counts what the driver numbered and never gave us, and gives how many pictures it made since the last one.
  /// Some number every frame 0.
  private func count(_ number: UInt32, _ link: InputLink) -> Int {
    let gap = lastSequence.map { number &- $0 } ?? 0
    lastSequence = number
    guard gap > 1, gap < 1000 else { return 1 }
    link.counters.missed.add(Int(gap) - 1, ordering: .relaxed)
    return Int(gap)
  }

  /// A stamp from the future or from long ago is a driver's mistake.
  private static func plausible(_ captured: UInt64, _ received: UInt64) -> UInt64 {
    captured <= received && received - captured < 10_000_000_000 ? captured : received
  }

  private func silenceError(_ stream: CaptureStream) -> InputError {
    InputError(
      .unavailable, "capturing from camera \(stream.device.path)",
      "no frame for \(Camera.longSilence / 1_000_000_000) seconds",
      remedy: "unplug the camera and plug it in again")
  }

  // MARK: - Waiting

  private func sleepUntilWanted(_ link: InputLink) {
    while !link.mailbox.isWanted, !link.stop.isSet { usleep(20_000) }
  }

  /// Opens the camera again after a rest. Where that fails it is lost, or somebody else has it.
  private func wake(_ identity: inout CameraIdentity, _ link: InputLink) {
    guard let found = try? search.reopen(identity) else { return }
    adopt(found, &identity, link)
  }

  /// Opens the camera again when it is back; false when the program stops first. While nobody watches it is left to
  /// whoever has it.
  private func reconnect(_ identity: inout CameraIdentity, _ link: InputLink) -> Bool {
    while true {
      sleepUntilWanted(link)
      if link.stop.isSet { return false }
      do {
        if let found = try search.reopen(identity) {
          link.counters.reconnects.add(1, ordering: .relaxed)
          adopt(found, &identity, link)
          return true
        }
        link.status.set(.waiting("camera \(identity.path) unplugged, waiting"))
      } catch {
        link.status.set(.waiting(Camera.explain(error, identity)))
      }
      rest(link)
    }
  }

  private func adopt(_ found: CaptureStream, _ identity: inout CameraIdentity, _ link: InputLink) {
    identity = search.identity(of: found.device)
    let label = Camera.label(found)
    if label != self.label {
      shownLabel.withLock { $0 = label }
      rateWatch = found.rateWatch(wanted: fps)
      if let text = found.rateNotice(wanted: fps) { link.status.warn(text) }
    }
    if found.layout.capacity > pool.capacity {
      pool = FramePool(count: buffers, capacity: found.layout.capacity)
    }
    stream = found
  }

  private func rest(_ link: InputLink) {
    var left = Camera.retryPause
    while left > 0, !link.stop.isSet {
      usleep(min(left, 50_000))
      left -= min(left, 50_000)
    }
  }

  private static func explain(_ error: any Error, _ identity: CameraIdentity) -> String {
    let camera = "camera \(identity.path)"
    guard let error = error as? InputError else { return "\(camera) failed: \(error), trying again" }
    switch error.kind {
    case .missing: return "\(camera) unplugged, waiting"
    case .denied: return "\(camera) may not be opened: \(error.fact), waiting"
    case .unavailable: return "\(camera): \(error.fact), waiting"
    // What mends it is not seen from the fact.
    case .usage, .wrongKind, .failed: return "\(camera) failed: \(error.fact); \(error.remedy); trying again"
    }
  }
}

extension SourceOptions {
  /// Small modes of webcams are often cut out or blurred, so no less than fits into this is asked for.
  private static let least = (width: 640, height: 480)
  private static let usualForJPEG = (width: 1280, height: 720)

  /// The size that frames are used at, in its own shape and not too small.
  public var captureWish: CaptureMode.Wish {
    let usual = wantsJPEG ? SourceOptions.usualForJPEG : SourceOptions.least
    let wanted = (width: Double(max(1, width ?? usual.width)), height: Double(max(1, height ?? usual.height)))
    let least = SourceOptions.least
    let scale = max(1, min(Double(least.width) / wanted.width, Double(least.height) / wanted.height))
    return CaptureMode.Wish(
      width: Int((wanted.width * scale).rounded()), height: Int((wanted.height * scale).rounded()),
      rate: fps ?? SourceOptions.usualRate, prefersJPEG: wantsJPEG)
  }
}
