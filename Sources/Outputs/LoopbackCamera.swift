import Base
import Frames
import Glibc
import Synchronization

/// Shows the frames as a camera, through v4l2loopback.
///
/// It writes at a steady rate by its own clock, the last picture again where no new one came: readers take a
/// second of silence for a broken camera. Format and descriptor stay for life. Where it is known that nobody
/// reads, no frames are wanted and a picture a few times a second is enough.
public final class LoopbackCamera: Output, @unchecked Sendable {
  private static let idleNanoseconds: UInt64 = 250_000_000
  public let mailbox = Mailbox(.newest)
  private let path: String
  /// Read by the threads of servers, for `/state`.
  private let shownLabel: Mutex<String>
  private let options: SinkOptions
  private var device: LoopbackDevice?
  private var filler: BufferFiller?
  /// For a driver that does not tell of its readers.
  private var readers: LoopbackReaders?

  public init(path: String, options: SinkOptions) throws {
    guard (1...240).contains(options.fps) else {
      throw OutputError(
        .usage, "opening \(path)", "\(options.fps) frames a second", remedy: "choose 1 to 240 frames a second"
      )
    }
    let (width, height) = (options.width, options.height)
    let sides = SinkOptions.cameraSides
    guard width % 2 == 0, height % 2 == 0, sides.contains(width), sides.contains(height) else {
      throw OutputError(
        .usage, "opening \(path)", "size \(width)x\(height)", remedy: "choose an even size, as 1280x720")
    }
    self.path = path
    shownLabel = Mutex(path)
    self.options = options
  }

  public var label: String { shownLabel.withLock { $0 } }
  /// What readers see; nil before `open`.
  public var format: PictureFormat? { device?.format }

  public func open() throws {
    let device = try LoopbackDevice(
      path: path, width: options.width, height: options.height, fps: options.fps)
    self.device = device
    shownLabel.withLock { $0 = "\(path) (\(device.card))" }
    // From here on it is a camera, and there is something to see.
    let filler = try BufferFiller(device)
    try filler.fillWithNotice("Waiting for the first picture")
    try device.show()
    self.filler = filler
    if !device.tellsUsage { readers = LoopbackReaders(path: path) }
    mailbox.isWanted = !device.tellsUsage && readers == nil
  }

  public func run() throws {
    defer {
      mailbox.isWanted = false
      mailbox.close()
    }
    guard let device, let filler else { return }
    let period = UInt64(1_000_000_000 / options.fps)
    var tick = Clock.now()
    while !mailbox.isClosed {
      tick += period
      if wait(until: tick, device) { try filler.fillWithNotice("Waiting for the first picture") }
      // After a pause the clock starts anew: missed pictures are not made up for.
      if Clock.now() > tick + period { tick = Clock.now() }
      let stamps = try fillNewest(filler)
      try device.show()
      if var stamps {
        stamps.pass(.written)
        options.statistics?.written(stamps)
      }
    }
  }

  /// Waits for the next picture's time, or longer while nobody reads. True where readers have just gone: the
  /// picture they saw will be old when the next come.
  private func wait(until tick: UInt64, _ device: LoopbackDevice) -> Bool {
    let wasWanted = mailbox.isWanted
    let pause = Clock.now() + Self.idleNanoseconds
    if device.tellsUsage {
      if let isUsed = device.waitForUsage(until: wasWanted ? tick : pause) { mailbox.isWanted = isUsed }
      // An event cuts the wait short; the rate stays.
      if mailbox.isWanted, wasWanted { Self.sleep(until: tick) }
    } else {
      Self.sleep(until: wasWanted ? tick : pause)
      if let areThere = readers?.areThere(now: Clock.now()) { mailbox.isWanted = areThere }
    }
    return wasWanted && !mailbox.isWanted
  }

  private static func sleep(until time: UInt64) {
    var time = timespec(nanoseconds: time)
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
  }

  /// The stamps of the picture, nil where it is the last one again.
  private func fillNewest(_ filler: BufferFiller) throws -> Stamps? {
    guard let frame = mailbox.take(timeout: 0), mailbox.isWanted else {
      try filler.fillAgain()
      return nil
    }
    var stamps = frame.stamps
    do {
      try filler.fill(frame.bytes, frame.format)
    } catch is FrameError {
      options.counters?.corrupt.wrappingAdd(1, ordering: .relaxed)
      try filler.fillAgain()
      return nil
    }
    stamps.pass(.encoded)
    return stamps
  }
}

/// Fills the device's buffers, and remembers where the last picture lies.
private final class BufferFiller {
  private let device: LoopbackDevice
  private let whole, filling: PictureConverter
  private var last: UnsafeMutableRawBufferPointer?

  init(_ device: LoopbackDevice) throws {
    self.device = device
    whole = try PictureConverter(to: device.format, fit: .contain)
    filling = try PictureConverter(to: device.format, fit: .cover)
  }

  func fill(_ bytes: UnsafeRawBufferPointer, _ format: PictureFormat) throws {
    let room = try device.room()
    let converter = Fit.showing(format, in: device.format) == .cover ? filling : whole
    try converter.convert(bytes, format, into: room)
    last = room
  }

  /// The last picture in the next buffer; readers only read.
  func fillAgain() throws {
    let room = try device.room()
    if let last, last.baseAddress != room.baseAddress { room.copyMemory(from: UnsafeRawBufferPointer(last)) }
    last = room
  }

  func fillWithNotice(_ text: String) throws {
    let format = PictureFormat(.rgb24, width: device.format.width, height: device.format.height)
    let picture = UnsafeMutableRawBufferPointer.allocate(
      byteCount: format.width * format.height * 3, alignment: 64)
    defer { picture.deallocate() }
    Notice.draw(text, width: format.width, height: format.height, into: picture)
    try fill(UnsafeRawBufferPointer(picture), format)
  }
}
