import CCUDA
import TestSupport
import Testing

extension SimulatorTests {
  /// Streams, events and graphs.
  @Suite struct Streams {
    private let session: Session
    private let addOne: tc_CUfunction
    private let simulator = Simulator.shared

    init() throws {
      session = try Session()
      addOne = try session.function("add_one", of: Kernels.source("wrappers.cu"))
    }

    private func add(to address: UInt64, in stream: tc_CUstream? = nil) throws {
      try session.launch(addOne, block: 1, [0, 0, address, 0], in: stream)
    }

    private func makeStream() throws -> tc_CUstream {
      var stream: tc_CUstream?
      try Session.check(simulator.call("cuStreamCreate", as: tc_cuStreamCreate.self)(&stream, 1))
      return try #require(stream)
    }

    private func makeEvent() throws -> tc_CUevent {
      var event: tc_CUevent?
      try Session.check(simulator.call("cuEventCreate", as: tc_cuEventCreate.self)(&event, 0))
      return try #require(event)
    }

    private func record(_ event: tc_CUevent, in stream: tc_CUstream) throws {
      try Session.check(simulator.call("cuEventRecord", as: tc_cuEventRecord.self)(event, stream))
    }

    private func wait(for event: tc_CUevent, in stream: tc_CUstream) throws {
      try Session.check(simulator.call("cuStreamWaitEvent", as: tc_cuStreamWaitEvent.self)(stream, event, 0))
    }

    private func begin(_ stream: tc_CUstream) throws {
      try Session.check(
        simulator.call("cuStreamBeginCapture_v2", as: tc_cuStreamBeginCapture_v2.self)(
          stream, TC_CUDA_CAPTURE_THREAD_LOCAL))
    }

    private func end(_ stream: tc_CUstream) throws -> tc_CUgraph {
      var graph: tc_CUgraph?
      try Session.check(
        simulator.call("cuStreamEndCapture", as: tc_cuStreamEndCapture.self)(stream, &graph))
      return try #require(graph)
    }

    private func instantiate(_ graph: tc_CUgraph) throws -> tc_CUgraphExec {
      var executable: tc_CUgraphExec?
      try Session.check(
        simulator.call("cuGraphInstantiateWithFlags", as: tc_cuGraphInstantiateWithFlags.self)(
          &executable, graph, 0))
      return try #require(executable)
    }

    private func replay(_ executable: tc_CUgraphExec) throws {
      try Session.check(
        simulator.call("cuGraphLaunch", as: tc_cuGraphLaunch.self)(executable, session.stream))
    }

    @Test func nothingHappensBeforeASynchronisation() throws {
      let number = try session.upload([Float(1)])
      var result: Float = -1
      try add(to: number)
      try withUnsafeMutablePointer(to: &result) {
        try Session.check(
          simulator.call("cuMemcpyDtoHAsync_v2", as: tc_cuMemcpyDtoHAsync_v2.self)(
            $0, number, 4, session.stream))
        #expect($0.pointee == -1)
        try session.synchronize()
        #expect($0.pointee == 2)
      }
    }

    /// Page-locked memory is read when the copy runs; other memory is the caller's again at once.
    @Test func onlyPageLockedMemoryIsReadLater() throws {
      var pinned: UnsafeMutableRawPointer?
      try Session.check(simulator.call("cuMemHostAlloc", as: tc_cuMemHostAlloc.self)(&pinned, 4, 0))
      let locked = try #require(pinned).assumingMemoryBound(to: Float.self)
      var own: Float = 1
      locked.pointee = 1
      let first = try session.allocate(4), second = try session.allocate(4)
      let copy = simulator.call("cuMemcpyHtoDAsync_v2", as: tc_cuMemcpyHtoDAsync_v2.self)
      try Session.check(copy(first, locked, 4, session.stream))
      try Session.check(copy(second, &own, 4, session.stream))
      locked.pointee = 2
      own = 2
      #expect(try session.download(first, Float.self, count: 1) == [2])
      #expect(try session.download(second, Float.self, count: 1) == [1])
      try Session.check(simulator.call("cuMemFreeHost", as: tc_cuMemFreeHost.self)(pinned))
    }

    @Test func anotherStreamWaitsOnlyForWhatItIsToldTo() throws {
      let other = try makeStream(), event = try makeEvent()
      let number = try session.upload([Float(1)])
      try session.synchronize()
      try add(to: number, in: other)
      #expect(try session.download(number, Float.self, count: 1) == [1])
      try record(event, in: other)
      try add(to: number, in: other)
      try wait(for: event, in: session.stream)
      #expect(try session.download(number, Float.self, count: 1) == [2])
      #expect(simulator.call("cuStreamDestroy_v2", as: tc_cuStreamDestroy_v2.self)(other) == 0)
      #expect(try session.download(number, Float.self, count: 1) == [3])
      #expect(simulator.call("cuStreamDestroy_v2", as: tc_cuStreamDestroy_v2.self)(other) == 400)
    }

    @Test func eventsMeasureTime() throws {
      let start = try makeEvent(), end = try makeEvent()
      let number = try session.upload([Float(1)])
      let elapsed = simulator.call("cuEventElapsedTime", as: tc_cuEventElapsedTime.self)
      var milliseconds: Float = -1
      #expect(elapsed(&milliseconds, start, end) == 400)
      try record(start, in: session.stream)
      try add(to: number)
      try record(end, in: session.stream)
      #expect(elapsed(&milliseconds, start, end) == 600)
      try Session.check(simulator.call("cuEventSynchronize", as: tc_cuEventSynchronize.self)(end))
      #expect(elapsed(&milliseconds, start, end) == 0)
      #expect(milliseconds > 0)
    }

    /// Marks in a graph take the time whenever it runs, and belong nowhere else.
    @Test func graphsMeasureTime() throws {
      let start = try makeEvent(), end = try makeEvent()
      let record = simulator.call("cuEventRecordWithFlags", as: tc_cuEventRecordWithFlags.self)
      let elapsed = simulator.call("cuEventElapsedTime", as: tc_cuEventElapsedTime.self)
      let external = UInt32(TC_CUDA_EVENT_RECORD_EXTERNAL)
      #expect(record(start, session.stream, external) == 1)
      #expect(record(start, session.stream, 2) == 1)
      let number = try session.upload([Float(1)])
      try session.synchronize()
      try begin(session.stream)
      try Session.check(record(start, session.stream, external))
      try add(to: number)
      try Session.check(record(end, session.stream, external))
      let executable = try instantiate(try self.end(session.stream))
      var milliseconds: Float = -1
      #expect(elapsed(&milliseconds, start, end) == 600)
      try replay(executable)
      try session.synchronize()
      #expect(elapsed(&milliseconds, start, end) == 0)
      #expect(milliseconds > 0)
    }

    @Test func graphsReplayWhatWasCaptured() throws {
      let number = try session.upload([Float(1)])
      try session.synchronize()
      try begin(session.stream)
      try add(to: number)
      try add(to: number)
      let graph = try end(session.stream)
      #expect(try session.download(number, Float.self, count: 1) == [1])
      let executable = try instantiate(graph)
      try Session.check(simulator.call("cuGraphDestroy", as: tc_cuGraphDestroy.self)(graph))
      for _ in 0..<3 { try replay(executable) }
      try Session.check(simulator.call("cuGraphExecDestroy", as: tc_cuGraphExecDestroy.self)(executable))
      #expect(try session.download(number, Float.self, count: 1) == [7])
      #expect(simulator.call("cuGraphLaunch", as: tc_cuGraphLaunch.self)(executable, session.stream) == 400)
    }

    /// A branch that does not wait runs before or after the other one; one that waits, after it.
    @Test(arguments: [false, true]) func graphsKeepDependenciesOnly(waits: Bool) throws {
      let other = try makeStream(), fork = try makeEvent(), first = try makeEvent(), join = try makeEvent()
      let number = try session.allocate(4), result = try session.allocate(4)
      try begin(session.stream)
      try record(fork, in: session.stream)
      try wait(for: fork, in: other)
      let set = simulator.call("cuMemsetD8Async", as: tc_cuMemsetD8Async.self)
      try Session.check(set(number, 0, 4, session.stream))
      try record(first, in: session.stream)
      if waits { try wait(for: first, in: other) }
      let copy = simulator.call("cuMemcpyDtoDAsync_v2", as: tc_cuMemcpyDtoDAsync_v2.self)
      try Session.check(copy(result, number, 4, other))
      try record(join, in: other)
      try wait(for: join, in: session.stream)
      let executable = try instantiate(end(session.stream))
      var seen: Set<Bool> = []
      for _ in 0..<40 {
        try Session.check(set(number, 0xff, 4, session.stream))
        try replay(executable)
        seen.insert(try session.download(result, Float.self, count: 1)[0].isNaN)
      }
      #expect(seen == (waits ? [false] : [false, true]))
    }

    @Test func aBranchThatDoesNotComeBackSpoilsACapture() throws {
      let other = try makeStream(), fork = try makeEvent()
      let number = try session.upload([Float(1)])
      try session.synchronize()
      try begin(session.stream)
      try record(fork, in: session.stream)
      try wait(for: fork, in: other)
      try add(to: number, in: other)
      #expect(throws: CUDAFailure(code: 904)) { try end(session.stream) }
    }

    @Test func someCallsAreIllegalInACapture() throws {
      let number = try session.upload([Float(1)])
      try session.synchronize()
      let illegal: [() throws -> Void] = [
        { _ = try session.allocate(16) },
        { try session.free(number) },
        { try session.synchronize() },
        { _ = try session.function("add_one", of: Kernels.source("wrappers.cu")) },
      ]
      for call in illegal {
        try begin(session.stream)
        try add(to: number)
        #expect(throws: CUDAFailure(code: 900)) { try call() }
        #expect(throws: CUDAFailure(code: 901)) { try add(to: number) }
        #expect(throws: CUDAFailure(code: 901)) { try end(session.stream) }
      }
      #expect(try session.download(number, Float.self, count: 1) == [1])
    }

    /// Parameters are those of the time of the call, in graphs too.
    @Test func parametersAreCopied() throws {
      let shuffle = try session.function("shuffle", of: Kernels.source("wrappers.cu"))
      let result = try session.allocate(128)
      try begin(session.stream)
      try session.launch(shuffle, block: 32, [0, 0, result, 3])
      let executable = try instantiate(end(session.stream))
      try replay(executable)
      #expect(try session.download(result, Float.self, count: 32) == (0..<32).map { Float($0 ^ 3) })
    }
  }
}
