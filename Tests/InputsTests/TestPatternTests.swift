import Frames
import Inputs
import TestSupport
import Testing

@Suite struct TestPatternTests {
  @Test(arguments: [(64, 48), (61, 97), (640, 480), (1, 1)])
  func givesMovingPicturesOfTheSizeAskedFor(_ width: Int, _ height: Int) throws {
    let running = Running(
      try Source.make("test", options: SourceOptions(width: width, height: height, realTime: false)))
    let frames = running.all(atMost: 10)
    #expect(running.finish() == nil)
    #expect(frames.count == 10)
    for (number, frame) in frames.enumerated() {
      #expect(frame.format == PictureFormat(.rgb24, width: width, height: height))
      #expect(frame.bytes.count == width * height * 3)
      #expect(frame.sequence == UInt64(number))
      #expect(frame.stamps[.captured] > 0 && frame.stamps[.received] >= frame.stamps[.captured])
    }
    guard width > 1 else { return }
    for (one, next) in zip(frames, frames.dropFirst()) { #expect(one.bytes != next.bytes) }
  }

  @Test func isColourful() throws {
    let running = Running(
      try Source.make("test", options: SourceOptions(width: 96, height: 96, realTime: false)))
    let frame = try #require(running.next())
    running.finish()
    for channel in 0..<3 {
      let values = stride(from: channel, to: frame.bytes.count, by: 3).map { Int(frame.bytes[$0]) }
      #expect(values.max()! > 200 && values.min()! < 50)
    }
    let gray = (0..<96 * 96).filter { pixel in
      let (r, g, b) = (frame.bytes[pixel * 3], frame.bytes[pixel * 3 + 1], frame.bytes[pixel * 3 + 2])
      return r == g && g == b
    }
    #expect(gray.count < 96 * 96 / 5)
  }

  @Test func isTheSameEveryTime() throws {
    func third() throws -> [UInt8]? {
      let running = Running(
        try Source.make("test", options: SourceOptions(width: 64, height: 64, realTime: false)))
      defer { running.finish() }
      return running.all(atMost: 3).last?.bytes
    }
    #expect(try third() == third())
  }

  @Test func restsWhileNobodyWatches() throws {
    let running = Running(
      try Source.make("test", options: SourceOptions(fps: 200, width: 32, height: 32)), .newest)
    #expect(running.next() != nil)
    running.mailbox.isWanted = false
    // One may have been on its way.
    _ = running.next(seconds: 1)
    let count = running.counters.framesIn.load(ordering: .relaxed)
    #expect(running.isSilent(milliseconds: 100))
    #expect(running.counters.framesIn.load(ordering: .relaxed) == count)
    running.mailbox.isWanted = true
    #expect(running.next() != nil)
    running.finish()
  }

  @Test func aSlowRateIsKept() throws {
    let running = Running(
      try Source.make("test", options: SourceOptions(fps: 0.5, width: 32, height: 32)), .newest)
    #expect(running.next() != nil)
    #expect(running.isSilent(milliseconds: 1500))
    #expect(running.next()?.sequence == 1)
    running.finish()
  }

  @Test func framesThatNobodyGivesBackAreCountedNotWaitedFor() throws {
    let running = Running(
      try Source.make("test", options: SourceOptions(fps: 500, width: 32, height: 32, buffers: 2)), .newest)
    let held = running.mailbox.take()
    let other = running.mailbox.take()
    #expect(eventually { running.counters.starved.load(ordering: .relaxed) > 3 })
    _ = consume held
    _ = consume other
    #expect(running.next() != nil)
    running.finish()
  }
}
