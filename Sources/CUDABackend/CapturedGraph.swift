import CCUDA

/// Work that was put into the stream once and runs again as a whole.
final class CapturedGraph {
  private let context: GPUContext
  private var graph: tc_CUgraph?
  private var executable: tc_CUgraphExec?
  private let launch: tc_cuGraphLaunch

  /// Records what `body` puts into the context's stream; nothing of it runs yet.
  init(_ context: GPUContext, _ body: () throws -> Void) throws {
    self.context = context
    let driver = context.driver
    launch = try driver.get("cuGraphLaunch", tc_cuGraphLaunch.self)
    try driver.check(
      driver.get("cuStreamBeginCapture_v2", tc_cuStreamBeginCapture_v2.self)(
        context.stream, TC_CUDA_CAPTURE_THREAD_LOCAL), "cuStreamBeginCapture", "the frame")
    // A capture that was begun is ended, whatever came between.
    let result = Result { try body() }
    let code = try driver.get("cuStreamEndCapture", tc_cuStreamEndCapture.self)(context.stream, &graph)
    try result.get()
    try driver.check(code, "cuStreamEndCapture", "the frame")
    try driver.check(
      driver.get("cuGraphInstantiateWithFlags", tc_cuGraphInstantiateWithFlags.self)(&executable, graph, 0),
      "cuGraphInstantiateWithFlags", "the frame")
  }

  func run() throws {
    try context.driver.check(launch(executable, context.stream), "cuGraphLaunch", "a frame")
  }

  deinit {
    try? context.enter()
    let library = context.driver.library
    if let executable { _ = library.find("cuGraphExecDestroy", tc_cuGraphExecDestroy.self)?(executable) }
    if let graph { _ = library.find("cuGraphDestroy", tc_cuGraphDestroy.self)?(graph) }
  }
}

/// Points in the stream whose times the GPU takes.
final class StreamClock {
  private let context: GPUContext
  private var events: [tc_CUevent?] = []

  init(_ context: GPUContext) { self.context = context }

  func mark() throws {
    var event: tc_CUevent?
    let driver = context.driver
    try driver.check(
      driver.get("cuEventCreate", tc_cuEventCreate.self)(&event, 0), "cuEventCreate", "a profile")
    events.append(event)
    try driver.check(
      driver.get("cuEventRecord", tc_cuEventRecord.self)(event, context.stream), "cuEventRecord", "a profile")
  }

  /// Seconds from each mark to the next; the stream must have come by.
  func intervals() throws -> [Double] {
    let elapsed = try context.driver.get("cuEventElapsedTime", tc_cuEventElapsedTime.self)
    return try zip(events, events.dropFirst()).map { start, end in
      var milliseconds: Float = 0
      try context.driver.check(elapsed(&milliseconds, start, end), "cuEventElapsedTime", "a profile")
      return Double(milliseconds) / 1e3
    }
  }

  deinit {
    guard let destroy = context.driver.library.find("cuEventDestroy_v2", tc_cuEventDestroy_v2.self) else {
      return
    }
    for event in events { _ = destroy(event) }
  }
}
