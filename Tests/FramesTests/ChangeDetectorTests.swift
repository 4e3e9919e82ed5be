import Frames
import TestSupport
import Testing

/// What nobody would see is no change, what somebody would is one, however small a part of the picture.
@Suite struct ChangeDetectorTests {
  private static let side = 64
  private let detector = ChangeDetector(width: side, height: side)

  private func isChanged(_ picture: [UInt8], by levels: Double = 2) -> Bool {
    picture.withUnsafeBytes { detector.isChanged($0, by: levels) }
  }

  private static func grey(_ level: UInt8) -> [UInt8] { Array(repeating: level, count: side * side * 3) }

  @Test func theFirstPictureIsChangedAndTheSameIsNot() {
    #expect(isChanged(Self.grey(90)))
    #expect(!isChanged(Self.grey(90)))
    detector.forget()
    #expect(isChanged(Self.grey(90)))
    #expect(!isChanged(Self.grey(90)))
  }

  @Test func lightThatFadesSlowlyIsSeen() {
    #expect(isChanged(Self.grey(90)))
    #expect(
      (UInt8(85)...89).reversed().map { isChanged(Self.grey($0)) } == [false, true, false, true, false])
  }

  /// Each block of 8 by 8, and one colour of it.
  @Test(arguments: 0..<3) func aBlockIsEnough(color: Int) {
    #expect(isChanged(Self.grey(90)))
    for block in 0..<64 {
      var picture = Self.grey(90)
      for y in 0..<8 {
        for x in 0..<8 { picture[((block / 8 * 8 + y) * Self.side + block % 8 * 8 + x) * 3 + color] = 93 }
      }
      #expect(isChanged(picture))
      #expect(isChanged(Self.grey(90)))
    }
  }

  /// A thing that turns keeps its mean.
  @Test func otherSamplesOfTheSameMeanAreAChange() {
    func stripes(_ phase: Int) -> [UInt8] {
      (0..<Self.side * Self.side).flatMap { pixel in
        [UInt8](repeating: (pixel + phase) % 2 == 0 ? 80 : 100, count: 3)
      }
    }
    #expect(isChanged(stripes(0)))
    #expect(!isChanged(stripes(2)))
    #expect(isChanged(stripes(1)))
  }

  /// A camera's noise, as much as steadying leaves of it.
  @Test func noiseIsNoChange() {
    var random = SplitMix(seed: 7)
    func noisy() -> [UInt8] {
      Self.grey(120).map { UInt8(Int($0) + Int.random(in: -2...2, using: &random)) }
    }
    #expect(isChanged(noisy()))
    #expect((0..<50).allSatisfy { _ in !isChanged(noisy()) })
    #expect(isChanged(noisy(), by: 0.5))
  }
}
