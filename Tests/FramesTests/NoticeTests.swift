import Frames
import Testing

@Suite struct NoticeTests {
  private func draw(_ text: String, _ width: Int, _ height: Int) -> Picture {
    var bytes = [UInt8](repeating: 0, count: width * height * 3)
    bytes.withUnsafeMutableBytes { Notice.draw(text, width: width, height: height, into: $0) }
    return Picture(width, height, bytes: bytes)
  }

  /// The smallest box around what differs from the corner, nil for an empty picture.
  private func inked(_ picture: Picture) -> Area? {
    let ground = picture[0, 0]
    var box: (x0: Int, y0: Int, x1: Int, y1: Int)?
    for y in 0..<picture.height {
      for x in 0..<picture.width where picture[x, y] != ground {
        guard let old = box else {
          box = (x, y, x, y)
          continue
        }
        box = (min(old.x0, x), min(old.y0, y), max(old.x1, x), max(old.y1, y))
      }
    }
    return box.map { Area(x: $0.x0, y: $0.y0, width: $0.x1 - $0.x0 + 1, height: $0.y1 - $0.y0 + 1) }
  }

  @Test(arguments: [(256, 256), (1280, 720), (640, 480), (160, 120)])
  func textIsCentred(_ width: Int, _ height: Int) throws {
    let box = try #require(inked(draw("loading model 43%", width, height)))
    #expect(abs(box.x + box.width / 2 - width / 2) <= width / 20)
    #expect(abs(box.y + box.height / 2 - height / 2) <= height / 10)
    #expect(box.width > width / 3 && box.width <= width * 9 / 10 + 2)
  }

  @Test func longTextIsWrappedAndStaysInside() throws {
    let text =
      "camera /dev/video0 unplugged, waiting for it to come back; check the cable and the hub, please"
    let box = try #require(inked(draw(text, 256, 256)))
    #expect(box.x > 0 && box.x + box.width < 256 && box.y > 0 && box.y + box.height < 256)
    #expect(box.height > 40)
    #expect(box.height > inked(draw("camera", 256, 256))!.height)
  }

  @Test func differentTextsDiffer() {
    #expect(draw("loading 42%", 256, 256).bytes != draw("loading 43%", 256, 256).bytes)
    #expect(inked(draw("", 64, 64)) == nil)
    #expect(draw("\u{FC}", 64, 64).bytes == draw("?", 64, 64).bytes)
  }

  @Test func tinyPicturesAndEndlessWordsAreSurvived() {
    for side in [1, 2, 7, 16] { _ = draw("no space here at all", side, side) }
    _ = draw(String(repeating: "W", count: 3000), 128, 64)
    var room = [UInt8](repeating: 9, count: 10)
    room.withUnsafeMutableBytes { Notice.draw("x", width: 64, height: 64, into: $0) }
    #expect(room == [UInt8](repeating: 9, count: 10))
  }
}
