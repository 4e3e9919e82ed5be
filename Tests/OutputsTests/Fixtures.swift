import Frames
import Glibc
import Outputs
import Synchronization
import TestSupport

/// Frames made by code.
enum Sample {
  /// Bytes that begin and end as a JPEG and carry `number`; nothing in the server looks inside.
  static func file(_ number: UInt32, count: Int = 4096) -> [UInt8] {
    var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: count)
    bytes.replaceSubrange(0..<4, with: [0xFF, 0xD8, 0xFF, 0xD9])
    withUnsafeBytes(of: number.bigEndian) { bytes.replaceSubrange(4..<8, with: $0) }
    bytes.replaceSubrange(count - 2..<count, with: [0xFF, 0xD9])
    return bytes
  }

  /// What `file` carries.
  static func number(_ file: [UInt8]) -> UInt32? {
    guard file.count >= 8 else { return nil }
    return file[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
  }

  static func frame(_ bytes: [UInt8], _ format: PictureFormat, captured: UInt64 = Clock.now()) -> Frame {
    let draft = FramePool(count: 1, capacity: max(1, bytes.count)).take()!
    draft.bytes.copyBytes(from: bytes)
    draft.stamps[.captured] = captured
    return draft.finish(format, byteCount: bytes.count, sequence: 0)
  }

  static func jpeg(_ number: UInt32, count: Int = 4096) -> Frame {
    frame(file(number, count: count), PictureFormat(.jpeg, width: 640, height: 480))
  }

  /// A JPEG that nobody captured.
  static func notice(_ number: UInt32) -> Frame {
    frame(file(number), PictureFormat(.jpeg, width: 640, height: 480), captured: 0)
  }

  /// A raw picture of which almost everything is missing.
  static func broken() -> Frame { frame([0, 0, 0], PictureFormat(.rgb24, width: 64, height: 48)) }

  /// One colour, with a brighter square that moves with `step`.
  static func picture(
    _ width: Int, _ height: Int, color: (UInt8, UInt8, UInt8) = (200, 60, 30), step: Int = 0,
    captured: UInt64 = Clock.now()
  ) -> Frame {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(width * height * 3)
    let left = step * 4 % max(1, width - 16)
    for y in 0..<height {
      for x in 0..<width {
        let isLit = x >= left && x < left + 16 && y < 16
        bytes += isLit ? [255, 255, 255] : [color.0, color.1, color.2]
      }
    }
    return frame(bytes, PictureFormat(.rgb24, width: width, height: height), captured: captured)
  }
}

/// An output at work on its own thread, ended with its owner.
final class Running {
  let output: any Output
  private let thread: StageThread
  private let outcome: Outcome
  private var isOver = false

  private final class Outcome: Sendable {
    let error = Mutex<(any Error)?>(nil)
  }

  init(_ output: any Output) throws {
    self.output = output
    try output.open()
    let outcome = Outcome()
    self.outcome = outcome
    thread = try StageThread("output") {
      do { try output.run() } catch { outcome.error.withLock { $0 = error } }
    }
  }
  deinit { end() }

  /// Closes the mailbox, waits, and gives what `run` threw.
  @discardableResult
  func end() -> (any Error)? {
    if !isOver {
      isOver = true
      output.mailbox.close()
      thread.join()
    }
    return outcome.error.withLock { $0 }
  }
}

/// Settings with one member: a strength that must be a number up to 1.
final class OneSetting: Control {
  let strength = Mutex(0.5)
  func stateJSON() -> [UInt8] { Array("{\"strength\":\(strength.withLock { $0 })}".utf8) }
  func patch(_ json: [UInt8]) -> Result<[UInt8], ControlRefusal> {
    let text = String(decoding: json, as: UTF8.self)
    guard text.hasPrefix("{\"strength\":"), text.hasSuffix("}"),
      let value = Double(text.dropFirst(12).dropLast()), value <= 1
    else { return .failure(ControlRefusal("strength is \"wrong\"")) }
    strength.withLock { $0 = value }
    return .success(stateJSON())
  }
}

/// A server of its own at work, and who asks it.
final class House {
  let server: HTTPServer
  let control = OneSetting()
  let counters = Counters()
  let statistics = Statistics()
  let running: Running
  var port: UInt16 { server.address.port }

  init(token: String? = nil, host: String = "127.0.0.1") throws {
    var options = SinkOptions()
    options.token = token
    options.control = control
    options.counters = counters
    options.statistics = statistics
    server = try HTTPServer(HTTPAddress(parsing: "http://\(host):0"), options: options)
    running = try Running(server)
  }

  func ask(
    _ method: String, _ target: String, _ headers: [String: String] = [:], body: [UInt8]? = nil
  ) -> HTTPClient.Answer? {
    let client = HTTPClient(port)
    client.request(method, target, headers, body: body)
    return client.answer(hasBody: method != "HEAD")
  }

  /// A viewer whose answer's head was read.
  func watch(_ target: String = "/stream", _ headers: [String: String] = [:], receiveBuffer: Int32? = nil)
    -> HTTPClient
  {
    let client = HTTPClient(port, receiveBuffer: receiveBuffer)
    client.request("GET", target, headers)
    _ = client.answer(hasBody: false)
    return client
  }

  func patch(_ body: String, _ headers: [String: String] = [:]) -> HTTPClient.Answer? {
    ask(
      "PATCH", "/settings", ["Content-Type": "application/json"].merging(headers) { $1 },
      body: Array(body.utf8))
  }
}
