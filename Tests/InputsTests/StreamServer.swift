import Base
import Glibc
import Testing

/// A server of streams that is a program of its own; killed with its owner.
final class StreamServer {
  private let process: pid_t
  private var isRunning = true

  init(_ program: String, _ arguments: [String]) throws {
    process = try spawn(program, arguments)
  }
  deinit { end() }

  func end() {
    guard isRunning else { return }
    isRunning = false
    kill(process, SIGKILL)
    waitpid(process, nil, 0)
  }

  /// A live H.264 camera that shows bars, at rtsp://127.0.0.1:PORT/live: GStreamer's server.
  static func rtsp(_ port: Int) throws -> StreamServer {
    let folder = String(#filePath.dropLast("/InputsTests/StreamServer.swift".count))
    return try StreamServer(folder + "/Servers/rtsp", ["\(port)"])
  }

  /// The same at srt://127.0.0.1:PORT. It serves one caller and ends with them.
  static func srt(_ port: Int) throws -> StreamServer {
    try StreamServer(
      "/usr/bin/ffmpeg",
      [
        "-nostdin", "-re", "-f", "lavfi", "-i", "smptebars=size=320x240:rate=15", "-c:v", "libx264", "-tune",
        "zerolatency", "-g", "15", "-pix_fmt", "yuv420p", "-f", "mpegts",
        "srt://127.0.0.1:\(port)?mode=listener",
      ])
  }

  /// Writes a live playlist, live.m3u8, and its segments into a folder.
  static func playlist(_ folder: String, secondsPerSegment seconds: Int) throws -> StreamServer {
    try StreamServer(
      "/usr/bin/ffmpeg",
      [
        "-nostdin", "-re", "-f", "lavfi", "-i", "smptebars=size=320x240:rate=10", "-c:v", "libx264", "-tune",
        "zerolatency", "-g", "10", "-pix_fmt", "yuv420p", "-f", "hls", "-hls_time", "\(seconds)",
        "-hls_list_size", "4", folder + "/live.m3u8",
      ])
  }

  /// The files of a folder at http://127.0.0.1:PORT/.
  static func files(_ folder: String, _ port: Int) throws -> StreamServer {
    try StreamServer("/bin/busybox", ["httpd", "-f", "-p", "127.0.0.1:\(port)", "-h", folder])
  }

  /// A port that nobody has, neither of TCP nor of UDP.
  static func freePort() throws -> Int {
    for _ in 0..<100 {
      guard let port = bound(Int32(SOCK_STREAM.rawValue), 0) else { continue }
      if bound(Int32(SOCK_DGRAM.rawValue), port) != nil { return Int(port) }
    }
    throw NoPort()
  }
  private struct NoPort: Error {}

  /// The port that a socket gets, which is closed again.
  private static func bound(_ kind: Int32, _ port: UInt16) -> UInt16? {
    let descriptor = socket(AF_INET, kind, 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
      }
    }
    return isBound ? UInt16(bigEndian: address.sin_port) : nil
  }
}
