import Frames
import TestSupport
import Testing

@Suite struct PlacementTests {
  /// What is nearly of the shape wanted gets no bars.
  @Test(arguments: [
    (336, 192, Fit.cover), (704, 384, .cover), (256, 256, .contain), (640, 480, .contain),
    (480, 854, .contain),
  ])
  func narrowBarsAreLeftOut(width: Int, height: Int, fit: Fit) {
    let camera = PictureFormat(.yuyv, width: 1280, height: 720)
    #expect(Fit.showing(PictureFormat(.rgb24, width: width, height: height), in: camera) == fit)
  }

  @Test func coverShowsTheCentreInTheTargetsShape() {
    let wide = PictureFormat(.rgb24, width: 1280, height: 720)
    let square = PictureFormat(.rgb24, width: 256, height: 256)
    let placement = Placement(.cover, from: wide, to: square)
    #expect(placement.crop == Area(x: 280, y: 0, width: 720, height: 720))
    #expect(placement.inner == Area(x: 0, y: 0, width: 256, height: 256))
    let tall = PictureFormat(.rgb24, width: 720, height: 1280)
    #expect(Placement(.cover, from: tall, to: square).crop == Area(x: 0, y: 280, width: 720, height: 720))
  }

  @Test func containShowsEverything() {
    let square = PictureFormat(.rgb24, width: 256, height: 256)
    let wide = PictureFormat(.yuyv, width: 1280, height: 720)
    let placement = Placement(.contain, from: square, to: wide)
    #expect(placement.crop == Area(x: 0, y: 0, width: 256, height: 256))
    #expect(placement.inner == Area(x: 280, y: 0, width: 720, height: 720))
  }

  /// Whatever the sizes, both rectangles lie inside, on chroma samples, and shapes agree within a sample.
  @Test func rectanglesStayInside() {
    var random = SplitMix(seed: 7)
    let layouts: [PixelFormat] = [.rgb24, .yuyv, .nv12, .i420]
    for _ in 0..<2000 {
      func any() -> PictureFormat {
        PictureFormat(
          layouts.randomElement(using: &random)!, width: Int.random(in: 1...500, using: &random) * 2,
          height: Int.random(in: 1...500, using: &random) * 2)
      }
      let from = any()
      let to = any()
      for fit in Fit.allCases {
        let placement = Placement(fit, from: from, to: to)
        for (area, format) in [(placement.crop, from), (placement.inner, to)] {
          #expect(area.x >= 0 && area.y >= 0 && area.width > 0 && area.height > 0)
          #expect(area.x + area.width <= format.width && area.y + area.height <= format.height)
          if format.pixels != .rgb24 { #expect(area.x % 2 == 0 && area.width % 2 == 0) }
          if format.pixels == .nv12 { #expect(area.y % 2 == 0 && area.height % 2 == 0) }
        }
        switch fit {
        case .cover: #expect(placement.inner == Area(x: 0, y: 0, width: to.width, height: to.height))
        case .contain: #expect(placement.crop == Area(x: 0, y: 0, width: from.width, height: from.height))
        }
      }
    }
  }
}
