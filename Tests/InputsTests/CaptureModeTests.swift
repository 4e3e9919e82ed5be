import Inputs
import Testing

@Suite struct CaptureModeTests {
  private typealias Mode = CaptureMode

  private func format(_ fourcc: String, _ sizes: [(Int, Int, [Double])], native: Bool = true) -> CameraFormat
  {
    CameraFormat(
      fourcc: fourcc, description: fourcc, isNative: native,
      sizes: sizes.map { CameraSize(width: $0.0, height: $0.1, rates: $0.2) })
  }
  private func wish(_ width: Int, _ height: Int, _ rate: Double = 30, jpeg: Bool = false) -> Mode.Wish {
    Mode.Wish(width: width, height: height, rate: rate, prefersJPEG: jpeg)
  }

  /// What a usual USB 2 webcam offers: raw video is slow at larger sizes.
  private var webcam: [CameraFormat] {
    [
      format(
        "YUYV",
        [
          (160, 120, [30]), (320, 240, [30, 15]), (640, 480, [30, 15]), (1280, 720, [10]), (1920, 1080, [5]),
        ]),
      format("MJPG", [(320, 240, [30]), (640, 480, [30]), (1280, 720, [30]), (1920, 1080, [30])]),
    ]
  }

  @Test func rawAtSmallSizes() {
    #expect(
      Mode.best(of: webcam, for: wish(640, 480)) == Mode(fourcc: "YUYV", width: 640, height: 480, rate: 30))
  }
  @Test func jpegAtLargeSizes() {
    #expect(
      Mode.best(of: webcam, for: wish(1280, 720)) == Mode(fourcc: "MJPG", width: 1280, height: 720, rate: 30))
    #expect(
      Mode.best(of: webcam, for: wish(1920, 1080))
        == Mode(fourcc: "MJPG", width: 1920, height: 1080, rate: 30))
  }
  @Test func jpegWhereItIsPassedOn() {
    #expect(Mode.best(of: webcam, for: wish(640, 480, jpeg: true))?.fourcc == "MJPG")
  }
  @Test func jpegWinsBetweenEqualsAtLargeSizesOnly() {
    let fast = [
      format("YUYV", [(640, 480, [30]), (1280, 720, [30])]),
      format("MJPG", [(640, 480, [30]), (1280, 720, [30])]),
    ]
    #expect(Mode.best(of: fast, for: wish(640, 480))?.fourcc == "YUYV")
    #expect(Mode.best(of: fast, for: wish(1280, 720))?.fourcc == "MJPG")
  }
  @Test func neverSmallerThanNeededWhereLargerIsFastEnough() {
    let mode = Mode.best(of: webcam, for: wish(800, 600))
    #expect(mode == Mode(fourcc: "MJPG", width: 1280, height: 720, rate: 30))
  }
  @Test func slowAndLargeLosesToFastAndSmaller() {
    let rawOnly = [format("YUYV", [(640, 480, [30]), (1920, 1080, [5])])]
    #expect(Mode.best(of: rawOnly, for: wish(1280, 720))?.width == 640)
  }
  @Test func theSlowestRateThatIsEnough() {
    let modes = [format("NV12", [(640, 480, [60, 29.97, 15])])]
    #expect(Mode.best(of: modes, for: wish(640, 480))?.rate == 29.97)
    #expect(Mode.best(of: modes, for: wish(640, 480, 90))?.rate == 60)
  }
  @Test func unknownFormatsAndSizesAreLeftOut() {
    #expect(Mode.best(of: [], for: wish(640, 480)) == nil)
    #expect(
      Mode.best(of: [format("BA81", [(640, 480, [30])], native: false)], for: wish(640, 480)) == nil)
    let odd = [format("YUYV", [(641, 480, [30]), (0, 0, [30]), (1 << 20, 480, [30]), (320, 240, [])])]
    #expect(
      Mode.best(of: odd, for: wish(640, 480)) == Mode(fourcc: "YUYV", width: 320, height: 240, rate: nil))
  }

  // MARK: What is asked for

  private func wish(for width: Int?, _ height: Int?, jpeg: Bool = false) -> [Int] {
    let wish = SourceOptions(width: width, height: height, wantsJPEG: jpeg).captureWish
    return [wish.width, wish.height]
  }

  @Test func theShapeOfThePaintingIsAskedFor() {
    #expect(wish(for: nil, nil) == [640, 480])
    #expect(wish(for: nil, nil, jpeg: true) == [1280, 720])
    #expect(wish(for: 336, 192) == [640, 366])
    #expect(wish(for: 256, 256) == [480, 480])
    #expect(wish(for: 192, 336) == [274, 480])
    // Never smaller than it will be used at.
    #expect(wish(for: 1024, 576) == [1024, 576])
    #expect(wish(for: 512, 512) == [512, 512])
  }

  /// The mode that a camera of these sizes, all at 30 frames a second, is set to for such a painting.
  private func size(for width: Int, _ height: Int, of sizes: [(Int, Int)]) -> [Int] {
    let formats = [format("YUYV", sizes.map { ($0.0, $0.1, [30]) })]
    let wish = SourceOptions(width: width, height: height).captureWish
    return Mode.best(of: formats, for: wish).map { [$0.width, $0.height] } ?? []
  }

  @Test func aWidePaintingHasAWideMode() {
    let usual = [(320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1920, 1080)]
    #expect(size(for: 336, 192, of: usual) == [640, 360])
    #expect(size(for: 1024, 576, of: usual) == [1280, 720])
    #expect(size(for: 256, 256, of: usual) == [640, 480])
    #expect(size(for: 320, 240, of: usual) == [640, 480])
    #expect(size(for: 512, 512, of: usual) == [800, 600])
    #expect(size(for: 336, 192, of: [(640, 480), (848, 480)]) == [848, 480])
    // A part of a small picture is cheaper than all of a large one.
    #expect(size(for: 336, 192, of: [(320, 180), (640, 480), (1920, 1080)]) == [640, 480])
    #expect(size(for: 256, 256, of: [(640, 360), (848, 480), (1280, 720)]) == [848, 480])
  }

  // MARK: What was agreed to

  @Test func modesAreShown() {
    #expect("\(Mode(fourcc: "MJPG", width: 1280, height: 720, rate: 30))" == "MJPG 1280x720, 30 frames/s")
    #expect(
      "\(Mode(fourcc: "YUYV", width: 640, height: 480, rate: 30000 / 1001))" == "YUYV 640x480, 29.97 frames/s"
    )
    #expect("\(Mode(fourcc: "NV12", width: 640, height: 480, rate: nil))" == "NV12 640x480")
  }

  @Test func aSlowerRateThanAskedIsTold() {
    func notice(_ rate: Double?, asked: Double) -> String? {
      Mode(fourcc: "YUYV", width: 640, height: 480, rate: rate).rateNotice(path: "/dev/video7", asked: asked)
    }
    #expect(notice(30, asked: 30) == nil && notice(29.97, asked: 30) == nil)
    #expect(notice(60, asked: 30) == nil && notice(nil, asked: 30) == nil)
    let text = notice(7.5, asked: 30)
    #expect(text?.contains("/dev/video7 gives 7.5 frames a second at 640x480, not the 30") == true)
  }

  /// What is told where so many frames a second come, evenly, for so many seconds.
  private func told(
    _ watch: inout RateWatch, _ rate: Double, seconds: Double, from start: Double = 100, made: Int = 1
  ) -> [Double] {
    (0...Int(rate * seconds)).compactMap { frame in
      watch.passed(made, now: UInt64((start + Double(frame) / rate) * 1e9))
    }
  }

  @Test func aRateFarBelowTheAgreedIsToldOnce() {
    var watch = RateWatch(30)
    #expect(told(&watch, 30, seconds: 20) == [])
    #expect(told(&watch, 24, seconds: 20, from: 200) == [])
    let rates = told(&watch, 15, seconds: 60, from: 300)
    #expect(rates.count == 1 && abs(rates[0] - 15) < 0.5)
    #expect(told(&watch, 10, seconds: 20, from: 400) == [])
  }

  @Test func whatTheCameraMadeCounts() {
    // Of 30 pictures 15 were lost on the way: the camera is not slow.
    var watch = RateWatch(30)
    #expect(told(&watch, 15, seconds: 20, made: 2) == [])
    // Silence is another trouble, as is a rate that nobody knows or that is too low to judge.
    var pausing = RateWatch(30)
    for start in stride(from: 100.0, to: 160, by: 6) {
      #expect(told(&pausing, 30, seconds: 3, from: start) == [])
    }
    var unknown = RateWatch(nil)
    #expect(told(&unknown, 1, seconds: 60) == [])
    var slow = RateWatch(1)
    #expect(told(&slow, 0.5, seconds: 60) == [])
  }
}
