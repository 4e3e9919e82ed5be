import Base
import CV4L2
import Frames
import Glibc

/// The writing side of a v4l2loopback node: opened, format set and read back, buffers mapped; closed with its
/// owner. One thread at a time.
///
/// The ways in, by what the driver takes: mmap streaming (all versions); else STREAMON and write(); else
/// write() alone. STREAMON comes before any write() because a writer without it leaves the device of version
/// 0.12.7 dead, and from 0.14 on STREAMON without buffers is refused.
final class LoopbackDevice {
  let path: String
  let card: String
  /// What readers see, for as long as it is open.
  let format: PictureFormat
  /// Whether the driver tells when readers come and go (v4l2loopback 0.13 and later).
  let tellsUsage: Bool

  private let descriptor: Int32
  private let isLoopback: Bool
  private let byteCount: Int
  private var buffers: [UnsafeMutableRawBufferPointer] = []
  private var next = 0
  private var isStreaming = false
  /// For write().
  private var scratch: UnsafeMutableRawBufferPointer?

  /// Asks for `width` x `height`; where a reader holds the device in another size, takes that.
  init(path: String, width: Int, height: Int, fps: Int) throws {
    self.path = path
    descriptor = try Self.open(path)
    do {
      let capability = try Self.capability(path, descriptor)
      // v4l2loopback 0.12 lets a second writer in; two of this program at least must not mix their pictures.
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw Self.inUse(path, systemFact("flock")) }
      card = capability.card
      isLoopback = capability.isLoopback
      (format, byteCount) = try Self.agree(path, descriptor, width: width, height: height)
      tellsUsage = Self.subscribe(descriptor)
    } catch {
      close(descriptor)
      throw error
    }
    setRate(fps)
    try mapBuffers()
  }
  deinit {
    if isStreaming { _ = call(turbocam_VIDIOC_STREAMOFF, V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue) }
    for buffer in buffers { munmap(buffer.baseAddress, buffer.count) }
    scratch?.deallocate()
    close(descriptor)
  }

  /// Where the next picture goes: `byteCount` bytes of `format`, holding anything.
  func room() throws -> UnsafeMutableRawBufferPointer {
    if let scratch { return scratch }
    if !isLoopback, isStreaming { try reclaim() }
    return UnsafeMutableRawBufferPointer(rebasing: buffers[next][..<byteCount])
  }

  /// Shows what was written into `room`.
  func show() throws {
    if let scratch { return try write(UnsafeRawBufferPointer(scratch)) }
    var buffer = Self.buffer(next)
    buffer.bytesused = UInt32(byteCount)
    buffer.field = V4L2_FIELD_NONE.rawValue
    try check("VIDIOC_QBUF", turbocam_VIDIOC_QBUF, &buffer)
    // v4l2loopback shows a buffer in QBUF and never owns it; its DQBUF may give back the one that readers
    // look at (0.12.7), so buffers go round by our own count.
    next = (next + 1) % buffers.count
    if !isStreaming {
      var type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
      try check("VIDIOC_STREAMON", turbocam_VIDIOC_STREAMON, &type)
      isStreaming = true
    }
  }

  /// Waits until somebody begins or ends reading, at most until `time` (CLOCK_MONOTONIC). Gives whether anybody
  /// reads, nil where nothing changed.
  func waitForUsage(until time: UInt64) -> Bool? {
    let now = Clock.now()
    let milliseconds = time > now ? (time - now + 999_999) / 1_000_000 : 0
    var ready = pollfd(fd: descriptor, events: Int16(POLLPRI), revents: 0)
    guard poll(&ready, 1, Int32(milliseconds)) > 0, ready.revents & Int16(POLLPRI) != 0 else { return nil }
    var isUsed: Bool?
    var event = v4l2_event()
    while call(turbocam_VIDIOC_DQEVENT, &event) == 0 {
      guard event.type == turbocam_client_usage_event else { continue }
      // struct v4l2_event_client_usage { __u32 count; }
      isUsed = withUnsafeBytes(of: &event.u) { $0.loadUnaligned(as: UInt32.self) } > 0
    }
    return isUsed
  }

  /// Drivers other than v4l2loopback own a buffer until they give it back.
  private func reclaim() throws {
    guard next == 0 || hasRoundTrip else { return }
    hasRoundTrip = true
    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&ready, 1, 1000) > 0 else { throw error("poll", "no buffer came back within a second") }
    var buffer = Self.buffer(0)
    try check("VIDIOC_DQBUF", turbocam_VIDIOC_DQBUF, &buffer)
    guard Int(buffer.index) < buffers.count else { throw error("VIDIOC_DQBUF", "buffer \(buffer.index)") }
    next = Int(buffer.index)
  }
  /// All buffers were given away once.
  private var hasRoundTrip = false

  private func write(_ bytes: UnsafeRawBufferPointer) throws {
    guard Glibc.write(descriptor, bytes.baseAddress, bytes.count) == bytes.count else {
      throw error("write", errorText(errno))
    }
  }

  // MARK: - Setting up

  private static func open(_ path: String) throws -> Int32 {
    let attempt = "opening \(path)"
    let descriptor = Glibc.open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard descriptor < 0 else { return descriptor }
    let fact = systemFact("open")
    switch errno {
    case ENOENT, ENXIO, ENODEV:
      throw OutputError(.unavailable, attempt, fact, remedy: LoopbackModule().advice(number(of: path)))
    case EACCES, EPERM:
      throw OutputError(
        .permission, attempt, fact, remedy: "join its group (sudo usermod -aG video $USER) and log in again")
    case EBUSY:
      throw OutputError(.unavailable, attempt, fact, remedy: "end the program that uses it (fuser \(path))")
    default: throw OutputError(.unavailable, attempt, fact)
    }
  }

  private static func capability(
    _ path: String, _ descriptor: Int32
  ) throws -> VideoCapability {
    let attempt = "opening \(path)"
    guard let capability = VideoCapability(descriptor: descriptor) else {
      throw OutputError(
        .unavailable, attempt, "it is not a video device (\(systemFact("VIDIOC_QUERYCAP")))",
        remedy: "turbocam devices lists the virtual cameras")
    }
    if capability.isOutput { return capability }
    guard capability.isLoopback else {
      throw OutputError(
        .unavailable, attempt,
        "\(capability.card) (\(capability.driver)) is a camera, not a virtual camera's input",
        remedy: "turbocam devices lists the virtual cameras")
    }
    // Without exclusive_caps it always is an output; with it, until somebody writes. Only a format that was
    // set to stay (keep_format, from 0.14 on) makes it a camera before that.
    guard keepsFormat(descriptor) else { throw inUse(path, "it shows no output") }
    return capability
  }

  /// Sets the format and believes only what comes back: a driver answers with what it has, and calls it
  /// success.
  private static func agree(
    _ path: String, _ descriptor: Int32, width: Int, height: Int
  ) throws -> (PictureFormat, Int) {
    var found = ""
    for wish in [FourCC.yu12, .yuyv] {
      var format = v4l2_format()
      format.type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
      format.fmt.pix.width = UInt32(width)
      format.fmt.pix.height = UInt32(height)
      format.fmt.pix.pixelformat = wish.code
      format.fmt.pix.field = V4L2_FIELD_NONE.rawValue
      format.fmt.pix.colorspace = V4L2_COLORSPACE_SMPTE170M.rawValue
      guard turbocam_ioctl(descriptor, turbocam_VIDIOC_S_FMT, &format) == 0 else {
        if errno == EBUSY { throw inUse(path, systemFact("VIDIOC_S_FMT")) }
        found = systemFact("VIDIOC_S_FMT")
        continue
      }
      let pix = format.fmt.pix
      if let agreed = picture(pix) { return agreed }
      found = "VIDIOC_S_FMT: it stays at \(FourCC(pix.pixelformat)) \(pix.width)x\(pix.height)"
    }
    throw OutputError(
      .unavailable, "setting the format of \(path)", found,
      remedy: "end the programs that read or write it (fuser \(path)), or load it anew: \(reloading(path))")
  }

  /// The picture of a format that the driver gave back; nil where it is not one that is written here.
  private static func picture(_ pix: v4l2_pix_format) -> (PictureFormat, Int)? {
    let (width, height, stride) = (Int(pix.width), Int(pix.height), Int(pix.bytesperline))
    guard (16...16384).contains(width), (16...16384).contains(height), width % 2 == 0, height % 2 == 0 else {
      return nil
    }
    guard let pixels = FourCC(pix.pixelformat).pixels, pixels == .i420 || pixels == .yuyv else { return nil }
    let tight = pixels == .yuyv ? width * 2 : width
    guard stride == 0 || stride == tight else { return nil }
    let format = PictureFormat(pixels, width: width, height: height)
    guard let byteCount = pixels.byteCount(width: width, height: height), Int(pix.sizeimage) >= byteCount
    else {
      return nil
    }
    return (format, byteCount)
  }

  /// The driver's control "keep_format": V4L2_CID_USER_BASE | 0xf000.
  private static func keepsFormat(_ descriptor: Int32) -> Bool {
    var control = v4l2_control(id: turbocam_loopback_keep_format, value: 0)
    return turbocam_ioctl(descriptor, turbocam_VIDIOC_G_CTRL, &control) == 0 && control.value != 0
  }

  private static func inUse(_ path: String, _ fact: String) -> OutputError {
    OutputError(
      .unavailable, "opening \(path)", "another program writes to it (\(fact))",
      remedy:
        "end that program (fuser \(path)) or take another virtual camera; where there is no such program, "
        + "one has left it dead: \(reloading(path))")
  }

  private static func reloading(_ path: String) -> String {
    LoopbackModule.reloading(number(of: path)).joined(separator: " && ")
  }

  /// 10 of "/dev/video10", and of what is named otherwise.
  private static func number(of path: String) -> Int {
    path.hasPrefix("/dev/video") ? Int(path.dropFirst("/dev/video".count)) ?? 10 : 10
  }

  private static func subscribe(_ descriptor: Int32) -> Bool {
    var wish = v4l2_event_subscription()
    wish.type = turbocam_client_usage_event
    wish.flags = UInt32(V4L2_EVENT_SUB_FL_SEND_INITIAL)
    return turbocam_ioctl(descriptor, turbocam_VIDIOC_SUBSCRIBE_EVENT, &wish) == 0
  }

  /// For readers who ask; the driver does not keep time by it.
  private func setRate(_ fps: Int) {
    var parameters = v4l2_streamparm()
    parameters.type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
    parameters.parm.output.timeperframe = v4l2_fract(numerator: 1, denominator: UInt32(fps))
    _ = call(turbocam_VIDIOC_S_PARM, &parameters)
  }

  private func mapBuffers() throws {
    var request = v4l2_requestbuffers()
    request.count = 4
    request.type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
    request.memory = V4L2_MEMORY_MMAP.rawValue
    let failure = call(turbocam_VIDIOC_REQBUFS, &request)
    if failure == EBUSY { throw Self.inUse(path, systemFact("VIDIOC_REQBUFS", failure)) }
    guard failure == 0, request.count > 0 else { return try prepareToWrite() }
    for index in 0..<min(Int(request.count), 32) {
      var buffer = Self.buffer(index)
      try check("VIDIOC_QUERYBUF", turbocam_VIDIOC_QUERYBUF, &buffer)
      let length = Int(buffer.length)
      guard length >= byteCount else { throw error("VIDIOC_QUERYBUF", "\(length) bytes of \(byteCount)") }
      let address = mmap(
        nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, off_t(buffer.m.offset))
      guard let address, address != MAP_FAILED else { throw error("mmap", errorText(errno)) }
      buffers.append(UnsafeMutableRawBufferPointer(start: address, count: length))
    }
  }

  private func prepareToWrite() throws {
    // Refused where streaming wants buffers; write() then works without it.
    var type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
    isStreaming = call(turbocam_VIDIOC_STREAMON, &type) == 0
    scratch = .allocate(byteCount: byteCount, alignment: 64)
  }

  // MARK: - Calling the driver

  /// 0 or the error number.
  private func call<Argument>(_ request: UInt, _ argument: inout Argument) -> Int32 {
    withUnsafeMutablePointer(to: &argument) { turbocam_ioctl(descriptor, request, $0) == 0 ? 0 : errno }
  }
  private func call(_ request: UInt, _ argument: UInt32) -> Int32 {
    var argument = argument
    return call(request, &argument)
  }
  private func check<Argument>(_ name: String, _ request: UInt, _ argument: inout Argument)
    throws
  {
    let failure = call(request, &argument)
    guard failure == 0 else { throw error(name, errorText(failure)) }
  }
  private func error(_ call: String, _ fact: String) -> OutputError {
    OutputError(
      .io, "writing to \(path)", "\(call): \(fact)", remedy: "turbocam devices shows what it is now")
  }

  private static func buffer(_ index: Int) -> v4l2_buffer {
    var buffer = v4l2_buffer()
    buffer.index = UInt32(index)
    buffer.type = V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue
    buffer.memory = V4L2_MEMORY_MMAP.rawValue
    return buffer
  }
}
