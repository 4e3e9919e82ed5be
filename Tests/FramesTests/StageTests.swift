import Base
import Frames
import Glibc
import Synchronization
import TestSupport
import Testing

@Suite struct StageTests {
  @Test func threadsCarryTheirNames() throws {
    let box = NameBox()
    let thread = try StageThread("a name longer than fifteen") {
      guard let file = fopen("/proc/thread-self/comm", "r") else { return }
      defer { fclose(file) }
      var buffer = [CChar](repeating: 0, count: 64)
      if fgets(&buffer, 64, file) != nil {
        box.name.withLock { $0 = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self) }
      }
    }
    thread.join()
    #expect(box.name.withLock { $0 } == "a name longer t\n")
  }

  @Test func aStopIsSeenByTheThreadThatLooks() throws {
    let stop = StopFlag()
    let thread = try StageThread("waits") {
      while !stop.isSet { sched_yield() }
    }
    #expect(!stop.isSet)
    stop.set()
    thread.join()
    #expect(stop.isSet)
  }

  /// A thread's stack takes 8 MB of address space until somebody joins the thread or lets go of it.
  @Test func threadsThatNobodyJoinsLeaveNothing() throws {
    let before = addressSpace()
    let ended = Counters()
    for number in 0..<500 {
      _ = try StageThread("forgotten") { ended.framesIn.add(1, ordering: .releasing) }
      while ended.framesIn.load(ordering: .acquiring) <= number { sched_yield() }
    }
    // The last may still be ending. All kept would be 4 GB.
    #expect(addressSpace() - before < 2 << 30)
  }

  /// A system that gives no more threads is no reason to fall over.
  @Test func aThreadThatCannotBeMadeIsTold() async {
    await #expect(processExitsWith: .success) {
      let error = try withThreadStacks(of: 1 << 52) {
        try #require(throws: ThreadError.self) { _ = try StageThread("never") {} }
      }
      #expect(error == ThreadError(name: "never", failure: EAGAIN))
      #expect("\(error)".contains("'never'") && "\(error)".contains("EAGAIN"), "\(error)")
      #expect("\(error)".contains("ulimit -u"))
      try StageThread("again") {}.join()
    }
  }

  /// Bytes of this process.
  private func addressSpace() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var pages = 0
    return withUnsafeMutablePointer(to: &pages) { pointer in
      withVaList([pointer]) { vfscanf(file, "%ld", $0) } == 1
        ? pointer.pointee * sysconf(Int32(_SC_PAGESIZE)) : 0
    }
  }

  @Test func anInputsStatusIsTheLastOneAndKeepsWarnings() {
    let status = InputStatus()
    #expect(status.current == .starting("starting"))
    status.set(.waiting("camera gone"))
    #expect(status.current == .waiting("camera gone"))
    for number in 0..<100 { status.warn("\(number)") }
    let warnings = status.takeWarnings()
    #expect(warnings.first == "0" && warnings.count < 100)
    #expect(status.takeWarnings() == [])
    status.warn("again")
    #expect(status.takeWarnings() == ["again"])
  }

  @Test func manyThreadsMaySetAndRead() throws {
    let status = InputStatus()
    let counters = Counters()
    let threads = try (0..<4).map { index in
      try StageThread("status \(index)") {
        for number in 0..<500 {
          status.set(.waiting("\(index) \(number)"))
          _ = status.current
          if number % 50 == 0 { status.warn("\(number)") }
          counters.framesIn.add(1, ordering: .relaxed)
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(counters.framesIn.load(ordering: .relaxed) == 2000)
  }

  @Test func stampsKeepTheirStations() {
    var stamps = Stamps()
    for (index, station) in Station.allCases.enumerated() { stamps[station] = UInt64(index + 1) }
    for (index, station) in Station.allCases.enumerated() { #expect(stamps[station] == UInt64(index + 1)) }
    let before = Clock.now()
    stamps.pass(.written)
    #expect(stamps[.written] >= before && stamps[.written] <= Clock.now())
  }
}

private final class NameBox: Sendable {
  let name = Lock("")
}
