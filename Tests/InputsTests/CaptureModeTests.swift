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
}
