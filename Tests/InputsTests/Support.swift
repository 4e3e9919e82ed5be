import Base
import Frames
import Glibc
import Inputs
import Synchronization
import Testing

/// Makes a file with Debian's ffmpeg.
func ffmpeg(_ arguments: [String]) throws {
  let options = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
  let process = try spawn("/usr/bin/ffmpeg", options + arguments, errors: STDERR_FILENO)
  var status: Int32 = -1
  waitpid(process, &status, 0)
  try #require(status == 0, "ffmpeg failed")
}

/// What an input gave, copied out of its frames.
struct Taken {
  var format: PictureFormat
  var bytes: [UInt8]
  var sequence: UInt64
  var stamps: Stamps

  /// As rgb24 in its own size.
  func rgb() throws -> RGBPicture {
    let converter = try PictureConverter(
      to: PictureFormat(.rgb24, width: format.width, height: format.height))
    var out = [UInt8](repeating: 0, count: format.width * format.height * 3)
    try bytes.withUnsafeBytes { from in
      try out.withUnsafeMutableBytes { try converter.convert(from, format, into: $0) }
    }
    return RGBPicture(bytes: out, width: format.width, height: format.height)
  }
}

extension RGBPicture {
  /// The mean colour of a square of 2·`radius` pixels.
  func mean(_ x: Int, _ y: Int, radius: Int = 3) -> [Int] {
    var sums = [0, 0, 0]
    var count = 0
    for row in max(0, y - radius)..<min(height, y + radius) {
      for column in max(0, x - radius)..<min(width, x + radius) {
        for channel in 0..<3 { sums[channel] += Int(bytes[(row * width + column) * 3 + channel]) }
        count += 1
      }
    }
    return sums.map { $0 / max(1, count) }
  }
  func isNear(_ x: Int, _ y: Int, _ color: [Int], within: Int = 12) -> Bool {
    zip(mean(x, y), color).allSatisfy { abs($0 - $1) <= within }
  }
}

/// An input at work on its own thread.
final class Running: Sendable {
  let mailbox: Mailbox
  let status = InputStatus()
  let counters = Counters()
  let stop = StopFlag()
  private let thread: StageThread

  init(_ input: any Input, _ policy: Mailbox.Policy = .every) {
    mailbox = Mailbox(policy)
    let link = InputLink(mailbox: mailbox, status: status, counters: counters, stop: stop)
    let error = UnsafeBox()
    box = error
    thread = try! StageThread("input") {
      do { try input.run(link) } catch let failure as InputError { error.value = failure } catch {}
      link.mailbox.close()
    }
  }
  private let box: UnsafeBox

  /// A test that gave up leaves none behind.
  deinit {
    stop.set()
    mailbox.close()
  }

  /// The next frame, nil at the end or after `seconds`.
  func next(seconds: UInt64 = 20) -> Taken? {
    guard let frame = mailbox.take(timeout: seconds * 1_000_000_000) else { return nil }
    return Taken(
      format: frame.format, bytes: Array(frame.bytes), sequence: frame.sequence, stamps: frame.stamps)
  }

  /// Whether no frame comes for a while.
  func isSilent(milliseconds: UInt64) -> Bool {
    let frame = mailbox.take(timeout: milliseconds * 1_000_000)
    return frame == nil
  }

  /// Ends the input and waits for its thread; gives what it threw.
  @discardableResult
  func finish() -> InputError? {
    stop.set()
    mailbox.close()
    thread.join()
    return box.value
  }

  func all(atMost limit: Int = 1000) -> [Taken] {
    var taken: [Taken] = []
    while taken.count < limit, let frame = next() { taken.append(frame) }
    return taken
  }
}

/// Written by the thread before it ends, read after it was joined.
final class UnsafeBox: @unchecked Sendable {
  var value: InputError?
}
