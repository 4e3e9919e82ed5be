import CCUDA

/// Points in a stream whose times the GPU takes.
final class StreamClock {
  private let stream: GPUStream
  private let isInGraph: Bool
  private var events: [GPUEvent] = []

  /// `isInGraph`: the marks belong to a graph that is being captured.
  init(_ stream: GPUStream, isInGraph: Bool = false) { (self.stream, self.isInGraph) = (stream, isInGraph) }

  func mark() throws {
    let event = try GPUEvent(stream.context, for: .timing)
    events.append(event)
    if isInGraph { try stream.markInGraph(event) } else { try stream.mark(event) }
  }

  /// Seconds from each mark to the next, of the graph's last run where they are in one; the stream must have
  /// come by.
  func intervals() throws -> [Double] {
    let elapsed = try stream.driver.get("cuEventElapsedTime", tc_cuEventElapsedTime.self)
    return try zip(events, events.dropFirst()).map { start, end in
      var milliseconds: Float = 0
      try stream.driver.check(elapsed(&milliseconds, start.raw, end.raw), "cuEventElapsedTime", "a profile")
      return Double(milliseconds) / 1e3
    }
  }
}

extension StreamClock {
  private static let warmUps = 2
  private static let marks = 64

  /// Seconds of each step where all of them run as one graph, as frames do. Between two steps stands a mark,
  /// which the GPU works on too, so what a mark takes in a graph of marks alone is taken off: what is left
  /// adds up to the graph.
  static func times(of steps: [() throws -> Void], in stream: GPUStream) throws -> [Double] {
    let marks = try replay(Array(repeating: {}, count: Self.marks), in: stream).sorted()[Self.marks / 2]
    return try replay(steps, in: stream).map { max(0, $0 - marks) }
  }

  private static func replay(_ steps: [() throws -> Void], in stream: GPUStream) throws -> [Double] {
    let clock = StreamClock(stream, isInGraph: true)
    let graph = try CapturedGraph(stream) {
      clock.events = []
      try clock.mark()
      for step in steps {
        try step()
        try clock.mark()
      }
    }
    for _ in 0...warmUps { try graph.run() }
    try stream.synchronize("a profile")
    return try clock.intervals()
  }
}
