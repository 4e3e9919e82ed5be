import CKernels
import CPUBackend
import Engine
import Glibc
import GraphCases
import Testing

/// What a system that gives no more threads leaves of parallel work: an error, and never a share that nobody works on.
/// In processes of their own, whose threads are to have larger stacks than there is memory.
@Suite struct ThreadLimitTests {
  private typealias Attributes = @convention(c) (UnsafeMutablePointer<pthread_attr_t>) -> Int32

  private static func withoutThreads<R>(_ body: () throws -> R) throws -> R {
    func entry(_ name: String) throws -> Attributes {
      unsafeBitCast(try #require(dlsym(nil, name)), to: Attributes.self)
    }
    let (get, set) = (try entry("pthread_getattr_default_np"), try entry("pthread_setattr_default_np"))
    var attributes = pthread_attr_t()
    var size = 0
    try #require(get(&attributes) == 0 && pthread_attr_getstacksize(&attributes, &size) == 0)
    try #require(pthread_attr_setstacksize(&attributes, 1 << 52) == 0 && set(&attributes) == 0)
    defer {
      pthread_attr_setstacksize(&attributes, size)
      _ = set(&attributes)
    }
    return try body()
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
}
