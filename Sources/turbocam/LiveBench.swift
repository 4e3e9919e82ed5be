import Diffusion
import Filter
import Frames
import Glibc
import Outputs
import Synchronization

/// The whole loop: a camera that gives JPEGs, through a stage, to a web stream that is watched.
struct LiveBench {
  private let seconds: Int
  init(seconds: Int) { self.seconds = seconds }

  /// A 640x480 camera at 60 frames a second, so that the model is what limits.
  func repainting(_ folder: ModelFolder, _ model: ModelOptions) throws -> JSON {
    let native = PictureSize(width: folder.nativeSize, height: folder.nativeSize)
    let box = SettingsBox(try model.settings(native: native))
    let backend = try Device.backend(model.device)
    let loader = PainterLoader(PipelineMaker(folder, backend, .imageToImage, .mean))
    let chain = Chain(
      stage: RepaintStage(box, loader), settings: box, loader: loader, model: folder.name,
      device: backend.description)
    return try measure(chain, try PatternCamera(width: 640, height: 480, rate: 60))
  }

  /// 1280x720 at 30 frames a second, passed through as they are.
  func passing() throws -> JSON {
    let size = PictureSize(width: 1280, height: 720)
    let settings = try Settings(
      prompt: "", strength: 1, steps: 1, seed: 0, size: size, fit: .cover, mirror: false)
    return try measure(.none(settings), try PatternCamera(width: 1280, height: 720, rate: 30))
  }

  private func measure(_ chain: Chain, _ camera: PatternCamera) throws -> JSON {
    let board = Board(chain, input: camera.label, takesEvery: false, isQuiet: true)
    var options = SinkOptions()
    options.control = board
    options.statistics = board.statistics
    options.counters = board.counters
    let server = try HTTPServer(HTTPAddress(parsing: "http://127.0.0.1:0"), options: options)
    let result = Mutex<JSON>(.null)
    let seconds = self.seconds
    let watch = StageThread("bench") {
      board.filter.awaitLive(board.stop)
      let viewer = StreamViewer(server.address.port)
      let start = Reading()
      for _ in 0..<(seconds * 10) where !board.stop.isSet { usleep(100_000) }
      let end = Reading()
      let spent = end.processor - start.processor - viewer.processorSeconds
      result.withLock { $0 = Self.report(board, viewer, spent, Double(end.time - start.time) / 1e9) }
      board.stop.set()
      board.inbox.close()
      viewer.end()
    }
    let spine = Spine(camera, chain.stage, [server], board)
    let code = try spine.run(limit: nil, inputWaits: false, Reporter(board, isQuiet: true, json: false))
    watch.join()
    guard code == 0 else { throw BenchError(text: "the run ended with exit code \(code)") }
    return result.withLock { $0 }
  }

  private static func report(_ board: Board, _ viewer: StreamViewer, _ processor: Double, _ seconds: Double)
    -> JSON
  {
    let state = board.state
    let frames = Double(viewer.frames)
    return .object([
      "input": .string(board.input), "seconds": .number(rounded(seconds, 1)),
      "fps": .number(rounded(frames / seconds, 2)),
      "latency_ms": state.object?["latency_ms"] ?? .null,
      "stages_ms": state.object?["stages_ms"] ?? .null,
      "dropped": .integer(board.inbox.dropped),
      "processor_ms_per_frame": frames > 0 ? .number(rounded(processor * 1e3 / frames, 2)) : .null,
      "memory_mb": .number(rounded(Double(Process.residentBytes) / 1e6, 1)),
      "peak_memory_mb": .number(rounded(Double(Process.peakBytes) / 1e6, 1)),
    ])
  }

  private struct Reading {
    let time = Clock.now()
    let processor = Process.processorSeconds
  }
}

struct BenchError: Error, CustomStringConvertible {
  var text: String
  var description: String { text }
}

/// Watches /stream as a browser does, on a thread of its own.
final class StreamViewer: Sendable {
  private final class Tally: Sendable {
    let counts = Mutex<(frames: Int, processor: Double)>((0, 0))
  }
  private let tally = Tally()
  private let descriptor: Int32
  private let thread: StageThread

  init(_ port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    self.descriptor = descriptor
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    _ = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    let request = Array("GET /stream HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n".utf8)
    _ = request.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, 0) }
    let tally = self.tally
    thread = StageThread("viewer") { Self.read(descriptor, tally) }
  }

  var frames: Int { tally.counts.withLock { $0.frames } }
  var processorSeconds: Double { tally.counts.withLock { $0.processor } }

  func end() {
    shutdown(descriptor, Int32(SHUT_RDWR))
    thread.join()
    close(descriptor)
  }

  /// Counts JPEGs by their first two bytes after a part's headers.
  private static func read(_ descriptor: Int32, _ tally: Tally) {
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    let mark: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0xFF, 0xD8]
    var matched = 0
    while true {
      let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
      guard count > 0 else { return }
      var frames = 0
      for byte in buffer[..<count] {
        matched = byte == mark[matched] ? matched + 1 : byte == mark[0] ? 1 : 0
        if matched == mark.count {
          frames += 1
          matched = 0
        }
      }
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      tally.counts.withLock {
        $0.frames += frames
        $0.processor = Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
      }
    }
  }
}
