import Base
import CV4L2
import Frames
import Glibc

/// A camera's format, set and agreed, and its mmap buffers. Buffers are unmapped with the last reference.
///
/// V4L2: "Streaming I/O (Memory Mapping)" in the kernel's media documentation.
final class CaptureStream {
  private static let wantedBuffers: UInt32 = 4
  /// More than this for one frame is no camera's honest answer.
  private static let largestImage = 256 << 20

  let device: VideoDevice
  /// What the driver really gives, which need not be what was asked.
  let layout: CaptureLayout
  /// The same, with the rate that the driver agreed to.
  let mode: CaptureMode
  /// What was asked of the driver, in frames a second.
  let askedRate: Double
  private var buffers: [UnsafeMutableRawBufferPointer] = []
  private var isStreaming = false

  init(_ device: VideoDevice, _ wish: CaptureMode.Wish) throws {
    self.device = device
    try CaptureStream.checkCamera(device)
    let best = CaptureMode.best(of: device.formats(), for: wish)
    layout =
      try best.map { try CaptureStream.agree(device, $0) } ?? CaptureStream.convertedLayout(device, wish)
    askedRate = best?.rate ?? wish.rate
    mode = CaptureMode(
      fourcc: layout.fourcc.description, width: layout.format.width, height: layout.format.height,
      rate: CaptureStream.setRate(device, askedRate))
    try mapBuffers()
  }
  deinit {
    if isStreaming { streamOff() }
    unmapBuffers()
  }

  // MARK: - Format

  private static func checkCamera(_ device: VideoDevice) throws {
    let capability = device.capability
    let attempt = "opening camera \(device.path)"
    let name = "\"\(capability.card)\" (\(capability.driver))"
    guard capability.isCapture else {
      if capability.isOutput {
        throw InputError(
          .unavailable, attempt, "\(name) is a virtual camera that nobody writes to, nothing can be captured",
          remedy: "start the program that feeds it, or choose another camera: turbocam devices")
      }
      throw InputError(
        .wrongKind, attempt,
        "\(name) does not capture video",
        remedy: "choose another node of the same camera: turbocam devices lists them")
    }
    guard capability.isStreaming else {
      throw InputError(
        .wrongKind, attempt, "\(name) has no streaming I/O", remedy: "choose another camera: turbocam devices"
      )
    }
  }

  private static func agree(_ device: VideoDevice, _ mode: CaptureMode) throws -> CaptureLayout {
    var pix = v4l2_pix_format()
    pix.width = UInt32(mode.width)
    pix.height = UInt32(mode.height)
    pix.pixelformat = FourCC(named: mode.fourcc).code
    pix.field = V4L2_FIELD_ANY.rawValue
    var format = v4l2_format()
    format.type = device.captureType
    turbocam_set_pix(&format, &pix)
    // A driver answers with what it will really do: another reader may hold it to an older format.
    return try CaptureLayout(
      native: set(&format, device, "\(mode.fourcc) \(mode.width)x\(mode.height)"), device.path)
  }

  /// Where no format is one of ours: sets one that libv4lconvert can convert from.
  private static func convertedLayout(_ device: VideoDevice, _ wish: CaptureMode.Wish) throws -> CaptureLayout
  {
    // libv4lconvert does not speak the multi-planar API.
    let possible =
      device.capability.isMultiPlanar
      ? nil : Conversion(device, width: wish.width, height: wish.height)
    guard let conversion = possible else {
      throw InputError(
        .wrongKind, "choosing a format of camera \(device.path)",
        CameraNode.unreadable(device.formatCodes().map(\.description)),
        remedy: "choose another camera: turbocam devices lists them")
    }
    var format = conversion.source
    try set(&format, device, "\(FourCC(format.fmt.pix.pixelformat))")
    try conversion.settle(format)
    return CaptureLayout(conversion: conversion)
  }

  /// Gives what the driver answers.
  @discardableResult
  private static func set(
    _ format: inout v4l2_format, _ device: VideoDevice, _ wanted: String
  ) throws -> v4l2_pix_format {
    let failure = device.call(turbocam_VIDIOC_S_FMT, &format)
    let attempt = "setting camera \(device.path) to \(wanted)"
    guard failure != EBUSY else { throw InputError.busy(device.path, attempt, failure) }
    guard failure == 0 else {
      throw InputError(
        .failed, attempt, "VIDIOC_S_FMT: \(errorText(failure))", remedy: "unplug the camera and try again")
    }
    var pix = v4l2_pix_format()
    let pieces = turbocam_get_pix(&format, &pix)
    guard pieces == 1 else {
      throw InputError(
        .wrongKind, attempt, "the driver spreads a picture over \(pieces) buffers",
        remedy: "choose another camera: turbocam devices lists them")
    }
    guard pix.sizeimage <= UInt32(largestImage) else {
      throw InputError(
        .failed, attempt, "the driver wants \(pix.sizeimage) bytes a frame",
        remedy: "choose a smaller size with --size")
    }
    return pix
  }

  /// Asks for a rate where the driver has one to set. Gives what it agreed to, nil where it does not tell.
  private static func setRate(_ device: VideoDevice, _ wanted: Double) -> Double? {
    var parameters = v4l2_streamparm()
    parameters.type = device.captureType
    guard device.call(turbocam_VIDIOC_G_PARM, &parameters) == 0,
      parameters.parm.capture.capability & UInt32(V4L2_CAP_TIMEPERFRAME) != 0
    else { return nil }
    let before = parameters.parm.capture.timeperframe
    parameters.parm.capture.timeperframe = v4l2_fract(
      numerator: 1000, denominator: UInt32(min(1_000_000, max(1, (wanted * 1000).rounded()))))
    let isSet = device.call(turbocam_VIDIOC_S_PARM, &parameters) == 0
    let rate = (isSet ? parameters.parm.capture.timeperframe : before).rate
    return rate > 0 ? rate : nil
  }

  // MARK: - Buffers

  private func mapBuffers() throws {
    var request = v4l2_requestbuffers()
    request.count = CaptureStream.wantedBuffers
    request.type = device.captureType
    request.memory = V4L2_MEMORY_MMAP.rawValue
    try check(turbocam_VIDIOC_REQBUFS, &request, "VIDIOC_REQBUFS")
    for index in 0..<request.count {
      var buffer = makeBuffer(index)
      try checkBuffer(turbocam_VIDIOC_QUERYBUF, &buffer, "VIDIOC_QUERYBUF")
      let memory = mmap(
        nil, Int(buffer.length), PROT_READ | PROT_WRITE, MAP_SHARED, device.fd, Int(buffer.m.offset))
      guard let memory, memory != MAP_FAILED else { throw failure("mmap", errno) }
      buffers.append(UnsafeMutableRawBufferPointer(start: memory, count: Int(buffer.length)))
    }
    guard buffers.count >= 2 else { throw failure("VIDIOC_REQBUFS gave \(buffers.count) buffers", ENOMEM) }
  }

  private func unmapBuffers() {
    for buffer in buffers { munmap(buffer.baseAddress, buffer.count) }
    buffers = []
    var request = v4l2_requestbuffers()
    request.type = device.captureType
    request.memory = V4L2_MEMORY_MMAP.rawValue
    _ = device.call(turbocam_VIDIOC_REQBUFS, &request)
  }

  private func makeBuffer(_ index: UInt32) -> v4l2_buffer {
    var buffer = v4l2_buffer()
    buffer.index = index
    buffer.type = device.captureType
    buffer.memory = V4L2_MEMORY_MMAP.rawValue
    return buffer
  }

  // MARK: - Streaming

  /// Hands all buffers to the driver and starts. Where that fails, nothing streams.
  func start() throws {
    for index in buffers.indices {
      var buffer = makeBuffer(UInt32(index))
      do {
        try checkBuffer(turbocam_VIDIOC_QBUF, &buffer, "VIDIOC_QBUF")
      } catch {
        streamOff()
        throw error
      }
    }
    var type = Int32(device.captureType)
    do {
      try check(turbocam_VIDIOC_STREAMON, &type, "VIDIOC_STREAMON")
    } catch {
      streamOff()
      throw error
    }
    isStreaming = true
  }

  private func streamOff() {
    var type = Int32(device.captureType)
    _ = device.call(turbocam_VIDIOC_STREAMOFF, &type)
  }

  /// One buffer of the driver's, as it was filled.
  struct Filled {
    var bytes: UnsafeMutableRawBufferPointer
    var isDamaged: Bool
    var sequence: UInt32
    /// The driver's stamp in CLOCK_MONOTONIC nanoseconds, nil where it uses another clock.
    var captured: UInt64?
  }

  /// Waits at most `milliseconds` for a frame, lends it to `body`, and gives the buffer back to the driver.
  /// False where none came. Throws where the camera is gone or broken.
  func next(milliseconds: Int32, _ body: (Filled) -> Void) throws -> Bool {
    var descriptor = pollfd(fd: device.fd, events: Int16(POLLIN), revents: 0)
    let ready = poll(&descriptor, 1, milliseconds)
    if ready < 0 && errno != EINTR { throw failure("poll", errno) }
    guard ready > 0 else { return false }
    var buffer = makeBuffer(0)
    // POLLERR tells that something is wrong, DQBUF what.
    var start: UInt32 = 0
    let result = device.call(turbocam_VIDIOC_DQBUF, &buffer, start: &start)
    if result == EAGAIN && descriptor.revents & Int16(POLLERR | POLLHUP) == 0 { return false }
    guard result == 0 else { throw failure("VIDIOC_DQBUF", result) }
    guard buffers.indices.contains(Int(buffer.index)) else {
      throw failure("VIDIOC_DQBUF gave buffer \(buffer.index) of \(buffers.count)", EINVAL)
    }
    let memory = buffers[Int(buffer.index)]
    let end = min(memory.count, Int(buffer.bytesused))
    body(
      Filled(
        bytes: UnsafeMutableRawBufferPointer(rebasing: memory[min(Int(start), end)..<end]),
        isDamaged: buffer.flags & UInt32(V4L2_BUF_FLAG_ERROR) != 0, sequence: buffer.sequence,
        captured: buffer.monotonicTime))
    var back = makeBuffer(buffer.index)
    try checkBuffer(turbocam_VIDIOC_QBUF, &back, "VIDIOC_QBUF")
    return true
  }

  private func check<Argument>(
    _ request: UInt, _ argument: inout Argument, _ name: String
  ) throws {
    let result = device.call(request, &argument)
    guard result == 0 else { throw failure(name, result) }
  }

  private func checkBuffer(_ request: UInt, _ buffer: inout v4l2_buffer, _ name: String) throws {
    var start: UInt32 = 0
    let result = device.call(request, &buffer, start: &start)
    guard result == 0 else { throw failure(name, result) }
  }

  private func failure(_ name: String, _ number: Int32) -> InputError {
    let attempt = "capturing from camera \(device.path)"
    if number == EBUSY { return .busy(device.path, attempt, number) }
    // The kernel's word for it is "no space left on device".
    if number == ENOSPC, name == "VIDIOC_STREAMON" {
      return InputError(
        .failed, attempt, "\(name): \(errorText(number)): the USB bus has too little bandwidth left for it",
        remedy: "plug it into another port, or choose a smaller size with --size")
    }
    if number != ENODEV, device.capability.needsMediaController {
      let fact = CameraNode.needsLibcamera(driver: device.capability.driver)
      return InputError(
        .failed, attempt, "\(name): \(errorText(number)): \(fact)", remedy: CameraNode.relay)
    }
    return InputError(
      number == ENODEV ? .missing : .failed, attempt, "\(name): \(errorText(number))",
      remedy: number == ENODEV ? "plug it in again" : "unplug the camera and plug it in again")
  }
}

extension v4l2_buffer {
  fileprivate var monotonicTime: UInt64? {
    guard
      flags & UInt32(V4L2_BUF_FLAG_TIMESTAMP_MASK) == UInt32(V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC),
      timestamp.tv_sec >= 0, timestamp.tv_usec >= 0
    else { return nil }
    return UInt64(timestamp.tv_sec) &* 1_000_000_000 &+ UInt64(timestamp.tv_usec) &* 1000
  }
}
