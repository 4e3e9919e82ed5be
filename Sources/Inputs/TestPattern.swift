import Frames
import Glibc

/// A moving, colourful picture drawn by code: for trying things out without a camera.
public final class TestPattern: Input, @unchecked Sendable {
  public let label = "test pattern"
  private let format: PictureFormat
  private let rate: Double
  private let realTime: Bool
  // Used by the one thread in `run` only.
  private let pool: FramePool
  private let waves: [UInt8]

  private static let usualSize = (width: 640, height: 480)

  /// Throws `InputError` where size or rate are out of bounds.
  public init(options: SourceOptions) throws {
    let width = options.width ?? TestPattern.usualSize.width
    let height = options.height ?? TestPattern.usualSize.height
    let sides = 1...PictureFormat.maximumSide
    guard sides.contains(width), sides.contains(height) else {
      throw InputError(
        .usage, "drawing the test pattern", "\(width)x\(height) pixels",
        remedy: "sides are 1 to \(PictureFormat.maximumSide)")
    }
    try options.checkRate("drawing the test pattern")
    rate = options.fps ?? SourceOptions.usualRate
    format = PictureFormat(.rgb24, width: width, height: height)
    realTime = options.realTime
    pool = FramePool(count: options.buffers, capacity: width * height * 3)
    waves = (0..<256).map { UInt8(127.5 + 127.5 * sin(Double($0) * .pi / 128)) }
  }

  public func run(_ link: InputLink) throws {
    link.status.set(.live)
    link.status.interval.store(SourceOptions.interval(rate), ordering: .relaxed)
    var pacer = Pacer()
    var number: UInt64 = 0
    while !link.stop.isSet {
      if realTime { pacer.wait(for: UInt64(Double(number) * 1e9 / rate), link.stop) }
      if link.mailbox.isClosed { break }
      // Time goes on while nobody watches.
      if link.mailbox.isWanted || !realTime { put(number, link) }
      number += 1
    }
    link.status.set(.ended)
  }

  private func put(_ number: UInt64, _ link: InputLink) {
    guard let draft = pool.takeWaiting(!realTime, link) else { return }
    draft.stamps.pass(.captured)
    draw(number, draft.bytes)
    draft.stamps.pass(.received)
    link.counters.framesIn.add(1, ordering: .relaxed)
    link.mailbox.put(draft.finish(format, byteCount: format.width * format.height * 3, sequence: number))
  }

  /// Three waves that drift through each other, one a colour, and a white ball on a dark ring that goes
  /// round.
  private func draw(_ number: UInt64, _ target: UnsafeMutableRawBufferPointer) {
    let seconds = Double(number) / rate
    let drift = Int(seconds * 60)
    let width = format.width
    let height = format.height
    let side = min(width, height)
    let ball = (
      x: width / 2 + Int(cos(seconds * 1.7) * Double(side) * 0.3),
      y: height / 2 + Int(sin(seconds * 1.7) * Double(side) * 0.3)
    )
    // The waves' length in 1/65536 of the table for a pixel: multiplying is cheaper than dividing.
    let slope = (384 << 16) / side
    let inner = side * side / 100
    let outer = side * side / 64
    let pixels = target.bindMemory(to: UInt8.self)
    waves.withUnsafeBufferPointer { waves in
      var at = 0
      for y in 0..<height {
        let v = (y * slope) >> 16
        let dy = y - ball.y
        for x in 0..<width {
          let u = (x * slope) >> 16
          let dx = x - ball.x
          let distance = dx * dx + dy * dy
          if distance < outer {
            let shade: UInt8 = distance < inner ? 250 : 20
            pixels[at] = shade
            pixels[at + 1] = shade
            pixels[at + 2] = shade
          } else {
            pixels[at] = waves[(u + drift) & 255]
            pixels[at + 1] = waves[(v + u / 2 - drift) & 255]
            pixels[at + 2] = waves[(v - u + 2 * drift) & 255]
          }
          at += 3
        }
      }
    }
  }
}
