import Frames
import Testing

@Suite struct StampJumpsTests {
  private static let second: Int64 = 1_000_000_000

  /// From one stamp to the next, in milliseconds.
  @Test(arguments: [(0, 0), (0, 40), (1000, 950), (10_000, 69_000)], [true, false])
  func whatRunsOnIsNoJump(_ stamps: (Int, Int), _ mayJump: Bool) {
    let jumps = StampJumps(mayJump: mayJump)
    #expect(!jumps.isJump(from: Int64(stamps.0) * 1_000_000, to: Int64(stamps.1) * 1_000_000))
  }

  @Test(arguments: [true, false]) func whatGoesBackIsAJumpEverywhere(_ mayJump: Bool) {
    #expect(StampJumps(mayJump: mayJump).isJump(from: 30 * Self.second, to: Self.second))
  }

  /// In an .mp4 a picture may stand for minutes; what a broadcast shows in a minute is from another clock.
  @Test func theContainerTellsHowFarAheadAJumpIs() {
    let minutes = 200 * Self.second
    #expect(StampJumps(mayJump: true).isJump(from: 0, to: minutes))
    #expect(!StampJumps(mayJump: false).isJump(from: 0, to: minutes))
    #expect(StampJumps(mayJump: false).isJump(from: 0, to: 7 * 3600 * Self.second))
    #expect(StampJumps(longest: 2 * Self.second).isJump(from: 0, to: 3 * Self.second))
  }

  @Test(arguments: [(Int64.min, Int64.max), (.max, .min), (0, .min), (0, .max)])
  func nonsenseIsAJump(_ last: Int64, _ next: Int64) {
    for mayJump in [true, false] { #expect(StampJumps(mayJump: mayJump).isJump(from: last, to: next)) }
  }
}
