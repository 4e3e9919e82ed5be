import Frames
import Glibc
import Outputs
import Testing

@Suite struct SinkTests {
  @Test func endingsAndAddressesChoose() throws {
    #expect(try Sink.make("http://127.0.0.1:8080") is HTTPServer)
    #expect(try Sink.make("/dev/video10") is LoopbackCamera)
    #expect(try Sink.make("a.mp4") is Recorder)
    #expect(try Sink.make("some.folder/B.MKV") is Recorder)
    #expect(try Sink.make("a.mjpeg") is MotionJPEG)
    #expect(try Sink.make("-") is MotionJPEG)
    #expect(try Sink.make("a.b.png") is StillWriter)
    #expect(try Sink.make("a.JPG") is StillWriter)
  }

  @Test(arguments: [
    ("clip.mp5", "did you mean clip.mp4?"), ("clip.mjpg", "did you mean clip.mjpeg?"),
    ("a.pgn", "did you mean a.png?"),
    ("clip.avi", "known: /dev/videoN"), ("clip", "no ending"), ("", "empty"),
    ("folder.mp4/clip", "no ending"),
    (".mp4", "no ending"), ("https://127.0.0.1:1", "TLS"), ("rtmp://host/live", "rtmp:// is not a sink"),
    ("HTTP://127.0.0.1:1", "begins with http://"),
  ])
  func whatIsNoSinkIsSaid(_ spec: String, _ words: String) throws {
    let error = try #require(throws: OutputError.self) { try Sink.make(spec) }
    #expect(error.exitCode == 64)
    #expect(error.description.contains(words))
    #expect(error.description.contains("'\(spec)'"))
  }

  @Test func whatIsNoVirtualCameraIsSaid() throws {
    let missing = try #require(throws: OutputError.self) { try Sink.make("/dev/video4242").open() }
    #expect(missing.exitCode == 69)
    #expect(missing.description.contains(LoopbackModule().advice(4242)))
    // A character device that is no video device.
    let other = try #require(throws: OutputError.self) { try Sink.make("/dev/null").open() }
    #expect(other.exitCode == 69)
    #expect(other.description.contains("not a video device"))
  }

  @Test func sizesAndRatesAreBounded() throws {
    for (width, height, fps) in [(1281, 720, 30), (8, 720, 30), (1280, 720, 0), (1280, 720, 1000)] {
      var options = SinkOptions()
      (options.width, options.height, options.fps) = (width, height, fps)
      #expect(throws: OutputError.self) { try Sink.make("/dev/video10", options: options) }
    }
  }
}
