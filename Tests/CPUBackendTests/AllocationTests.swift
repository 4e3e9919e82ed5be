import AllocationCounter
import CPUBackend
import Engine
import Glibc
import GraphCases
import Testing

@Suite struct AllocationTests {
  /// Of every thread.
  @Test func theCounterCounts() async {
    await #expect(processExitsWith: .success) {
      allocations_begin()
      let block = UnsafeMutableRawPointer.allocate(byteCount: 100, alignment: 8)
      let during = allocations_end()
      block.deallocate()
      #expect(during.own == 1 && during.kept == 1)

      var thread = pthread_t()
      allocations_begin()
      pthread_create(&thread, nil, { _ in malloc(100) }, nil)
      pthread_join(thread, nil)
      #expect(allocations_end().kept >= 1)
    }
  }

  /// The frame path allocates nothing of its own on any thread, in bf16 and f32, with settings written in between.
  @Test func framesAllocateNothing() async {
    await #expect(processExitsWith: .success) {
      for element in productElements { try AllocationTests().countFrames(element) }
    }
  }

  private func countFrames(_ element: ElementType) throws {
    let test = Case(seed: 42)
    test.writeRandomGraph(length: 40, element: element)
    let program = try CPUBackend(overlap: .always).compile(test.graph, weights: test.weights) { _ in }
    for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
    for _ in 0..<3 { try program.run() }
    for _ in 0..<3 {
      for _ in 0..<program.depth { try program.start() }
      for _ in 0..<program.depth { try program.finish() }
    }
    var own = 0
    var kept = 0
    for frame in 0..<100 {
      let input = test.inputs[frame % test.inputs.count]
      try input.bytes.withUnsafeBytes { bytes in
        allocations_begin()
        defer {
          let counts = allocations_end()
          own += counts.own
          kept += counts.kept
        }
        try program.write(input.name, bytes)
        guard frame >= 50 else { return try program.run() }
        if frame > 50 { try program.finish() }
        try program.start()
      }
    }
    #expect(own == 0, "\(element)")
    #expect(kept == 0, "\(element): what oneDNN takes for a call it gives back")
  }
}
