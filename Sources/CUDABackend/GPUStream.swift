import CCUDA

/// A queue of work: what is put into it runs in order, beside what is in others.
final class GPUStream: @unchecked Sendable {
  let context: GPUContext
  private(set) var raw: tc_CUstream?
  var driver: Driver { context.driver }
  /// Whether kernels that are put in may begin before the one before them has ended.
  var overlapsLaunches = false
  // Looked up once: they are called for every frame.
  private let wait: tc_cuStreamSynchronize
  private let waitEvent: tc_cuStreamWaitEvent
  private let record: tc_cuEventRecord
  private let hostToDevice: tc_cuMemcpyHtoDAsync_v2
  private let deviceToHost: tc_cuMemcpyDtoHAsync_v2
  private let deviceToDevice: tc_cuMemcpyDtoDAsync_v2

  init(_ context: GPUContext) throws {
    self.context = context
    let driver = context.driver
    wait = try driver.get("cuStreamSynchronize", tc_cuStreamSynchronize.self)
    waitEvent = try driver.get("cuStreamWaitEvent", tc_cuStreamWaitEvent.self)
    record = try driver.get("cuEventRecord", tc_cuEventRecord.self)
    hostToDevice = try driver.get("cuMemcpyHtoDAsync_v2", tc_cuMemcpyHtoDAsync_v2.self)
    deviceToHost = try driver.get("cuMemcpyDtoHAsync_v2", tc_cuMemcpyDtoHAsync_v2.self)
    deviceToDevice = try driver.get("cuMemcpyDtoDAsync_v2", tc_cuMemcpyDtoDAsync_v2.self)
    try context.enter()
    try driver.check(
      driver.get("cuStreamCreate", tc_cuStreamCreate.self)(&raw, UInt32(TC_CUDA_STREAM_NON_BLOCKING)),
      "cuStreamCreate", context.device.name)
  }

  deinit {
    try? context.enter()
    _ = driver.library.find("cuStreamDestroy_v2", tc_cuStreamDestroy_v2.self)?(raw)
  }

  /// Waits until everything that was put in is done.
  func synchronize(_ purpose: @autoclosure () -> String) throws {
    try driver.check(wait(raw), "cuStreamSynchronize", purpose())
  }

  /// `from` must stay as it is until the copy has run.
  func upload(_ from: UnsafeRawPointer, to: tc_CUdeviceptr, _ byteCount: Int) throws {
    try driver.check(hostToDevice(to, from, byteCount, raw), "cuMemcpyHtoDAsync", "\(byteCount) bytes")
  }

  func download(_ from: tc_CUdeviceptr, to: UnsafeMutableRawPointer, _ byteCount: Int) throws {
    try driver.check(deviceToHost(to, from, byteCount, raw), "cuMemcpyDtoHAsync", "\(byteCount) bytes")
  }

  func copy(_ from: tc_CUdeviceptr, to: tc_CUdeviceptr, _ byteCount: Int) throws {
    try driver.check(deviceToDevice(to, from, byteCount, raw), "cuMemcpyDtoDAsync", "\(byteCount) bytes")
  }

  /// Marks this point.
  func mark(_ event: GPUEvent) throws { try driver.check(record(event.raw, raw), "cuEventRecord", "a frame") }

  /// Marks this point of the graph that is being captured, each time the graph runs.
  func markInGraph(_ event: GPUEvent) throws {
    try driver.check(
      driver.get("cuEventRecordWithFlags", tc_cuEventRecordWithFlags.self)(
        event.raw, raw, UInt32(TC_CUDA_EVENT_RECORD_EXTERNAL)), "cuEventRecordWithFlags", "a profile")
  }

  /// What is put in from here on waits for the mark in the other stream.
  func wait(for event: GPUEvent) throws {
    try driver.check(waitEvent(raw, event.raw, 0), "cuStreamWaitEvent", "a frame")
  }
}

/// A point in a stream.
final class GPUEvent {
  let context: GPUContext
  private(set) var raw: tc_CUevent?
  private let wait: tc_cuEventSynchronize

  enum Use: UInt32 {
    /// Its time is to be known, which costs a little.
    case timing = 0
    /// Streams wait for it.
    case order = 2  // CU_EVENT_DISABLE_TIMING
    /// A thread waits for it, and sleeps meanwhile; for others it would spin.
    case waking = 3  // and CU_EVENT_BLOCKING_SYNC
  }

  init(_ context: GPUContext, for use: Use = .order) throws {
    self.context = context
    wait = try context.driver.get("cuEventSynchronize", tc_cuEventSynchronize.self)
    try context.driver.check(
      context.driver.get("cuEventCreate", tc_cuEventCreate.self)(
        &raw, use.rawValue), "cuEventCreate", "a frame")
  }

  deinit {
    try? context.enter()
    _ = context.driver.library.find("cuEventDestroy_v2", tc_cuEventDestroy_v2.self)?(raw)
  }

  /// Waits until what was in the stream before it is done.
  func synchronize(_ purpose: @autoclosure () -> String) throws {
    try context.driver.check(wait(raw), "cuEventSynchronize", purpose())
  }
}
