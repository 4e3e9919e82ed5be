import CKernels
import CPUBackend
import Engine
import Glibc
import GraphCases
import TestSupport
import Testing

/// What a system that gives no more threads leaves of parallel work: an error, and never a share that nobody works on.
/// In processes of their own, whose threads are to have larger stacks than there is memory.
@Suite struct ThreadLimitTests {
  private static func withoutThreads<R>(_ body: () throws -> R) throws -> R {
    try withThreadStacks(of: 1 << 52, body)
  }

  /// One thread more can be made: another has left it its stack, and there is no memory for the next.
  private static func withOneThread<R>(_ body: () throws -> R) throws -> R {
    let stack = 32 << 20
    return try withThreadStacks(of: stack) { () throws -> R in
      var thread = pthread_t()
      let failure = pthread_create(&thread, nil, { _ in nil }, nil)
      try #require(failure == 0)
      pthread_join(thread, nil)
      let addresses = __rlimit_resource_t(9)  // RLIMIT_AS
      var old = rlimit()
      getrlimit(addresses, &old)
      let mapped = try mappedByteCount()
      var small = rlimit(rlim_cur: rlim_t(mapped + stack / 2), rlim_max: old.rlim_max)
      let refused = setrlimit(addresses, &small)
      try #require(refused == 0)
      defer { setrlimit(addresses, &old) }
      return try body()
    }
  }

  /// Of this process's memory.
  private static func mappedByteCount() throws -> Int {
    let file = try #require(fopen("/proc/self/statm", "r"))
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    let read = fgets(&line, 128, file)
    try #require(read != nil)
    let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    let pages = try #require(text.split(separator: " ").first.flatMap { Int($0) })
    return pages * Int(getpagesize())
  }

  @Test func threadsAreThereOrMissed() async {
    await #expect(processExitsWith: .success) {
      #expect(tc_set_threads(2) == 0)
      let failure = try ThreadLimitTests.withoutThreads {
        // Those that there are do.
        #expect(tc_set_threads(1) == 0 && tc_set_threads(2) == 0)
        return tc_set_threads(4)
      }
      #expect(failure == EAGAIN)
      #expect(tc_set_threads(4) == 0)
    }
  }

  @Test func aProgramIsRefusedWithoutItsThreads() async {
    await #expect(processExitsWith: .success) {
      let test = Case(seed: 1)
      test.graph.output("y", test.graph.linear(test.input([64, 64]), weight: test.weight([64, 64])))
      let backend = try CPUBackend(precision: .f32, threads: 3, overlap: .never)
      let error = try ThreadLimitTests.withoutThreads {
        #expect(throws: CPUError.threads(count: 3, failure: EAGAIN)) {
          _ = try backend.compile(test.graph, weights: test.weights) { _ in }
        }
      }
      #expect(error?.exitCode == 71)
      #expect("\(String(describing: error))".contains("ulimit -u"))
      #expect(try test.error(of: backend) <= 1e-5)
    }
  }

  /// Frames that overlap take a thread each beside those that the program has. Where there is none, they
  /// follow each other.
  @Test func framesOverlapOnlyWhereTheyHaveThreads() async {
    await #expect(processExitsWith: .success) {
      let test = Case(seed: 1)
      test.graph.output("y", test.graph.linear(test.input([64, 64]), weight: test.weight([64, 64])))
      #expect(tc_set_threads(2) == 0)
      let measured = try CPUBackend(precision: .f32, threads: 2, overlap: .measured)
      let program = try ThreadLimitTests.withoutThreads {
        try measured.compile(test.graph, weights: test.weights) { _ in }
      }
      #expect(program.depth == 1)
      #expect(try test.error(of: measured) <= 1e-5)
      // Who insists is told, and the next one may have better luck.
      let always = try CPUBackend(precision: .f32, threads: 2, overlap: .always)
        .compile(test.graph, weights: test.weights) { _ in }
      #expect(always.depth == 2)
      _ = try ThreadLimitTests.withoutThreads {
        #expect(throws: CPUError.threads(count: 1, failure: EAGAIN)) { try always.start() }
      }
      try always.start()
      try always.finish()
    }
  }

  /// What goes wrong with a frame is told to who finishes it, not to who writes a setting meanwhile.
  @Test func aFramesErrorIsItsOwn() async {
    await #expect(processExitsWith: .success) {
      let test = Case(seed: 2)
      let bias = test.input([16], .f32, .settings)
      test.graph.output(
        "y", test.graph.linear(test.input([3, 64]), weight: test.weight([16, 64]), bias: bias))
      let program = try CPUBackend(precision: .f32, threads: 4, overlap: .always)
        .compile(test.graph, weights: test.weights) { _ in }
      for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
      try program.run()
      // The frame has its own thread, and that one no helper.
      try ThreadLimitTests.withOneThread {
        try program.start()
        try test.inputs[0].bytes.withUnsafeBytes { try program.write(test.inputs[0].name, $0) }
        #expect(throws: CPUError.threads(count: 2, failure: EAGAIN)) { try program.finish() }
      }
      let expected = try #require(try test.run(ReferenceBackend())["y"])
      for _ in 0..<2 {
        try program.start()
        try program.finish()
        #expect(relativeError(try #require(try Case.outputs(program, test.graph)["y"]), expected) <= 1e-5)
      }
    }
  }
}
