import Base
import CKernels
import Frames
import Glibc
import Testing

/// The threads of parallel regions: oneDNN's entry points lead here, so that what it relies on must hold.
@Suite struct TeamTests {
  private typealias Body = @convention(c) (UnsafeMutableRawPointer?) -> Void
  private typealias Parallel = @convention(c) (Body, UnsafeMutableRawPointer?, UInt32, UInt32) -> Void

  private static func entry<T>(_ name: String, _ type: T.Type) throws -> T {
    unsafeBitCast(try #require(dlsym(nil, name)), to: type)
  }

  @Test func oneDNNFindsThem() throws {
    let place = UInt(bitPattern: try #require(dlsym(nil, "GOMP_parallel")))
    let maps = try #require(Self.output(of: "cat /proc/\(getpid())/maps")).split(separator: "\n")
    let line = try #require(
      maps.first { line in
        let range = line.prefix { $0 != " " }.split(separator: "-").compactMap { UInt($0, radix: 16) }
        return range.count == 2 && (range[0]..<range[1]).contains(place)
      })
    #expect(!line.contains("libgomp") && maps.contains { $0.contains("libgomp") })
  }

  /// Who calls libgomp for more than is defined here would meet both run times in one region.
  @Test func librariesCallNothingElse() throws {
    let known = Set(
      ["GOMP_parallel", "GOMP_barrier"]
        + ["get_thread_num", "get_num_threads", "get_max_threads", "in_parallel", "set_num_threads"].map {
          "omp_\($0)"
        }
        // Locks have no threads in them.
        + ["init", "set", "unset", "destroy"].map { "omp_\($0)_lock" })
    let maps = try #require(Self.output(of: "cut -c74- /proc/\(getpid())/maps | grep '\\.so' | sort -u"))
    var looked = 0
    for library in maps.split(separator: "\n") where !library.contains("libgomp") {
      let names = try #require(Self.output(of: "nm -D --undefined-only '\(library)' 2>/dev/null"))
        .split(separator: "\n").compactMap { $0.split(separator: " ").last?.prefix { $0 != "@" } }
        .filter { $0.hasPrefix("GOMP_") || $0.hasPrefix("omp_") }
      let others = names.filter { !known.contains(String($0)) }
      #expect(others.isEmpty, "\(library) calls \(others.joined(separator: ", "))")
      looked += names.isEmpty ? 0 : 1
    }
    #expect(looked > 0, "no library calls OpenMP at all")
  }

  private static func output(of command: String) -> String? {
    guard let pipe = popen(command, "r") else { return nil }
    defer { pclose(pipe) }
    var text: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&piece, 1, piece.count, pipe), count > 0 { text += piece[..<count] }
    return String(decoding: text, as: UTF8.self)
  }

  /// What members of regions tell of themselves.
  private final class Roll: @unchecked Sendable {
    let seen = Lock<[[Int]]>([])
    func begin(_ count: UInt32, _ body: Body) throws -> [[Int]] {
      let parallel = try TeamTests.entry("GOMP_parallel", Parallel.self)
      parallel(body, Unmanaged.passUnretained(self).toOpaque(), count, 0)
      return seen.withLock { all in
        defer { all = [] }
        return all.sorted { $0[0] < $1[0] }
      }
    }
    static func of(_ data: UnsafeMutableRawPointer?) -> Roll {
      Unmanaged.fromOpaque(data!).takeUnretainedValue()
    }
    static var place: [Int] {
      typealias Number = @convention(c) () -> Int32
      return ["omp_get_thread_num", "omp_get_num_threads", "omp_in_parallel"].map {
        Int(try! TeamTests.entry($0, Number.self)())
      }
    }
    func sign() { seen.withLock { $0.append(Self.place) } }
  }

  @Test func everyMemberRunsOnce() throws {
    let roll = Roll()
    for count in [1, 2, 5, 3, 8, 4] as [UInt32] {
      for _ in 0..<200 {
        let seen = try roll.begin(count) { Roll.of($0).sign() }
        #expect(seen == (0..<Int(count)).map { [$0, Int(count), count > 1 ? 1 : 0] })
      }
    }
    #expect(Roll.place == [0, 1, 0])
  }

  @Test func regionsInsideRunOnTheOneThread() throws {
    let roll = Roll()
    let seen = try roll.begin(3) { data in
      let inner = try! TeamTests.entry("GOMP_parallel", Parallel.self)
      inner({ Roll.of($0).sign() }, data, 3, 0)
    }
    #expect(seen == [[0, 1, 0], [0, 1, 0], [0, 1, 0]])
    // And in one inside of that.
    let deeper = try roll.begin(3) { data in
      let inner = try! TeamTests.entry("GOMP_parallel", Parallel.self)
      inner(
        { data in
          let innermost = try! TeamTests.entry("GOMP_parallel", Parallel.self)
          innermost({ Roll.of($0).sign() }, data, 4, 0)
        }, data, 3, 0)
    }
    #expect(deeper == [[0, 1, 0], [0, 1, 0], [0, 1, 0]])
    #expect(try roll.begin(2) { Roll.of($0).sign() } == [[0, 2, 1], [1, 2, 1]])
  }

  @Test func nobodyPassesABarrierAlone() throws {
    let arrived = Roll()
    for _ in 0..<100 {
      let seen = try arrived.begin(4) { data in
        typealias Barrier = @convention(c) () -> Void
        let (roll, barrier) = (Roll.of(data), try! TeamTests.entry("GOMP_barrier", Barrier.self))
        for round in 1...3 {
          roll.sign()
          barrier()
          let count = roll.seen.withLock { $0.count }
          if count < 4 * round { roll.seen.withLock { $0.append([-1]) } }
          barrier()
        }
      }
      #expect(seen.count == 12 && seen.allSatisfy { $0.count == 3 })
    }
  }

  /// Regions of fewer threads than there are between full ones: no share is missed or done twice, and nobody
  /// waits for those who are not there.
  @Test func smallRegionsBetweenFullOnes() throws {
    let members = Roll()
    let counts: [UInt32] = [8, 2, 3, 8, 1, 5, 2]
    for round in 0..<700 {
      let count = counts[round % counts.count]
      let seen = try members.begin(count) { data in
        typealias Barrier = @convention(c) () -> Void
        let (roll, barrier) = (Roll.of(data), try! TeamTests.entry("GOMP_barrier", Barrier.self))
        roll.sign()
        barrier()
        let signed = roll.seen.withLock { $0.count }
        if signed < Roll.place[1] { roll.seen.withLock { $0.append([-1]) } }
      }
      #expect(seen == (0..<Int(count)).map { [$0, Int(count), count > 1 ? 1 : 0] })
    }
  }

  /// A region wakes only those who take part in it.
  @Test func othersSleepOn() throws {
    let members = Roll()
    let places = try members.begin(6) { data in
      typealias Number = @convention(c) () -> Int32
      let thread = try! TeamTests.entry("gettid", Number.self)()
      Roll.of(data).seen.withLock { $0.append([Roll.place[0], Int(thread)]) }
    }
    let others = places.dropFirst(2).map { $0[1] }
    let before = try others.map(Self.sleeps)
    for _ in 0..<50 {
      let seen = try members.begin(2) { Roll.of($0).sign() }
      #expect(seen.count == 2)
      usleep(200)  // longer than a thread looks for the next one before it sleeps
    }
    // Who was still looking when they were counted has gone to sleep once.
    for (thread, count) in zip(others, before) { #expect(try Self.sleeps(thread) <= count + 1) }
  }

  /// How often a thread has gone to sleep.
  private static func sleeps(_ thread: Int) throws -> Int {
    let line = try #require(
      output(of: "grep ^voluntary_ctxt_switches /proc/\(getpid())/task/\(thread)/status"))
    return try #require(line.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) })
  }

  /// Threads that come and go each have helpers of their own, which end with them.
  /// In a process where nobody else has any.
  @Test func everyThreadHasItsOwn() async {
    await #expect(processExitsWith: .success) {
      for _ in 0..<5 {
        var threads: [pthread_t] = []
        for _ in 0..<3 {
          var thread = pthread_t()
          let failure = pthread_create(&thread, nil, { _ in TeamTests.callRoll() }, nil)
          #expect(failure == 0)
          threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
      }
      // A helper that was told to end may still be doing so.
      for _ in 0..<500 where try TeamTests.helpers() > 0 { usleep(10_000) }
      #expect(try TeamTests.helpers() == 0, "helpers stay behind")
    }
  }

  private static func callRoll() -> UnsafeMutableRawPointer? {
    let roll = Roll()
    for _ in 0..<300 {
      let seen = try! roll.begin(3) { Roll.of($0).sign() }
      precondition(seen == [[0, 3, 1], [1, 3, 1], [2, 3, 1]], "\(seen)")
    }
    // Else it could not be seen that they end.
    precondition(try! helpers() >= 2)
    return nil
  }

  /// A helper that cannot run, as where another program has its processor: its parts are done by who began the
  /// region, once each, and it meets the next region as if nothing had been. In a process of its own, because a signal
  /// is what holds the helper up.
  @Test func partsOfAHelperThatCannotRunAreTakenOver() async {
    await #expect(processExitsWith: .success) {
      alarm(60)  // what waits for the helper waits for ever
      HeldThread.letSignalsPass()
      precondition(tc_set_threads(3) == 0)
      let counts = UnsafeMutablePointer<Int32>.allocate(capacity: 3000)
      counts.initialize(repeating: 0, count: 3000)
      TeamTests.count(counts)
      try HeldThread.hold(try TeamTests.helperOfThisThread(2))
      TeamTests.count(counts)
      try HeldThread.release()
      for _ in 0..<100 { TeamTests.count(counts) }
      #expect((0..<3000).allSatisfy { counts[$0] == 102 })
    }
  }

  /// Adds one to each of 3000 numbers, in a region and in one that is handed out in turns, half of them each.
  private static func count(_ counts: UnsafeMutablePointer<Int32>) {
    let add: tc_body = { counts, begin, end, _ in
      let counts = UnsafeMutablePointer(mutating: counts!.assumingMemoryBound(to: Int32.self))
      for index in begin..<end { counts[index] += 1 }
    }
    tc_parallel(add, counts, 1500, 1)
    tc_parallel_in_turns(add, counts + 1500, 1500)
  }

  /// The thread with this number in the regions of the calling thread.
  private static func helperOfThisThread(_ number: Int) throws -> pthread_t {
    let members = Roll()
    let places = try members.begin(3) { data in
      Roll.of(data).seen.withLock { $0.append([Roll.place[0], Int(bitPattern: UInt(pthread_self()))]) }
    }
    return pthread_t(UInt(bitPattern: places[number][1]))
  }

  private static func helpers() throws -> Int {
    let names = try #require(output(of: "cat /proc/\(getpid())/task/*/comm"))
    return names.split(separator: "\n").count { $0 == "compute" }
  }
}

/// A thread that a signal's handler keeps until it is released.
private enum HeldThread {
  nonisolated(unsafe) private static var entered: [Int32] = [-1, -1]
  nonisolated(unsafe) private static var released: [Int32] = [-1, -1]

  /// For threads that the calling one makes: threads of a pool take no signals.
  static func letSignalsPass() {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGUSR2)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// Returns when the thread is in the handler.
  static func hold(_ thread: pthread_t) throws {
    try #require(pipe(&entered) == 0 && pipe(&released) == 0)
    signal(SIGUSR2) { _ in
      var byte: UInt8 = 0
      _ = write(HeldThread.entered[1], &byte, 1)
      _ = read(HeldThread.released[0], &byte, 1)
    }
    try #require(pthread_kill(thread, SIGUSR2) == 0)
    var byte: UInt8 = 0
    try #require(read(entered[0], &byte, 1) == 1)
  }

  static func release() throws {
    var byte: UInt8 = 0
    try #require(write(released[1], &byte, 1) == 1)
  }
}
