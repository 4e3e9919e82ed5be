import Frames
import Inputs

/// A camera made of the test pattern: JPEGs that were encoded beforehand, at a steady rate.
final class PatternCamera: Input, @unchecked Sendable {
  let label: String
  /// Of its JPEGs.
  let meanByteCount: Int
  private let pictures: [[UInt8]]
  private let format: PictureFormat
  private let interval: UInt64
  private let pool: FramePool

  init(width: Int, height: Int, rate: Int) throws {
    label = "test pattern as MJPEG, \(width)x\(height) at \(rate)"
    format = PictureFormat(.jpeg, width: width, height: height)
    interval = 1_000_000_000 / UInt64(rate)
    pictures = try Self.encode(width, height, count: 16)
    meanByteCount = pictures.reduce(0) { $0 + $1.count } / max(pictures.count, 1)
    pool = FramePool(count: 12, capacity: pictures.map(\.count).max() ?? 0)
  }

  private static func encode(_ width: Int, _ height: Int, count: Int) throws -> [[UInt8]] {
    let pattern = try TestPattern(options: SourceOptions(width: width, height: height, realTime: false))
    let link = InputLink(
      mailbox: Mailbox(.every), status: InputStatus(), counters: Counters(), stop: StopFlag())
    let thread = try StageThread("pattern") { try? pattern.run(link) }
    defer {
      link.stop.set()
      link.mailbox.close()
      thread.join()
    }
    let encoder = try JPEGEncoder(quality: 85)
    var buffer = [UInt8](repeating: 0, count: width * height * 3 + 65536)
    var pictures: [[UInt8]] = []
    while pictures.count < count, let frame = link.mailbox.take() {
      let size = try buffer.withUnsafeMutableBytes {
        try encoder.encode(frame.bytes, frame.format, into: $0)
      }
      pictures.append(Array(buffer[..<size]))
    }
    return pictures
  }

  func run(_ link: InputLink) throws {
    link.status.set(.live)
    var number: UInt64 = 0
    let start = Clock.now()
    while !link.stop.isSet, !link.mailbox.isClosed {
      let due = start + number * interval
      let now = Clock.now()
      if due > now { Clock.sleep(due - now) }
      put(pictures[Int(number) % pictures.count], number + 1, link)
      number += 1
    }
  }

  private func put(_ picture: [UInt8], _ sequence: UInt64, _ link: InputLink) {
    guard let draft = pool.take() else {
      link.counters.starved.wrappingAdd(1, ordering: .relaxed)
      return
    }
    draft.stamps.pass(.captured)
    draft.bytes.copyBytes(from: picture)
    draft.stamps.pass(.received)
    link.counters.framesIn.wrappingAdd(1, ordering: .relaxed)
    link.mailbox.put(draft.finish(format, byteCount: picture.count, sequence: sequence))
  }
}
