import CCUDA

/// Work that was put into the stream once and runs again as a whole.
final class CapturedGraph {
  private let stream: GPUStream
  private var graph: tc_CUgraph?
  private var executable: tc_CUgraphExec?
  private let launch: tc_cuGraphLaunch
  /// Whether kernels of it begin before the one before them has ended.
  private(set) var overlapsLaunches: Bool

  /// Records what `body` puts into the stream; nothing of it runs yet. `body` is called again where the
  /// driver does not take kernels that may begin early.
  init(_ stream: GPUStream, _ body: () throws -> Void) throws {
    self.stream = stream
    launch = try stream.driver.get("cuGraphLaunch", tc_cuGraphLaunch.self)
    stream.overlapsLaunches = stream.context.overlapsLaunches
    overlapsLaunches = stream.overlapsLaunches
    defer { stream.overlapsLaunches = false }
    do {
      try capture(body)
    } catch let error as CUDAError where stream.overlapsLaunches && error.isCall {
      (overlapsLaunches, stream.overlapsLaunches) = (false, false)
      try capture(body)
      // It was not for something else that the first attempt failed.
      stream.context.refuseOverlap()
    }
  }

  private func capture(_ body: () throws -> Void) throws {
    let driver = stream.driver
    destroy()
    try driver.check(
      driver.get("cuStreamBeginCapture_v2", tc_cuStreamBeginCapture_v2.self)(
        stream.raw, TC_CUDA_CAPTURE_THREAD_LOCAL), "cuStreamBeginCapture", "the frame")
    // A capture that was begun is ended, whatever came between.
    let result = Result { try body() }
    let code = try driver.get("cuStreamEndCapture", tc_cuStreamEndCapture.self)(stream.raw, &graph)
    try result.get()
    try driver.check(code, "cuStreamEndCapture", "the frame")
    try driver.check(
      driver.get("cuGraphInstantiateWithFlags", tc_cuGraphInstantiateWithFlags.self)(&executable, graph, 0),
      "cuGraphInstantiateWithFlags", "the frame")
  }

  func run() throws {
    try stream.driver.check(launch(executable, stream.raw), "cuGraphLaunch", "a frame")
  }

  private func destroy() {
    let library = stream.driver.library
    if let executable { _ = library.find("cuGraphExecDestroy", tc_cuGraphExecDestroy.self)?(executable) }
    if let graph { _ = library.find("cuGraphDestroy", tc_cuGraphDestroy.self)?(graph) }
    (executable, graph) = (nil, nil)
  }

  deinit {
    try? stream.context.enter()
    destroy()
  }
}
