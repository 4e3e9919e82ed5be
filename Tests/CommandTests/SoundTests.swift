import TestSupport
import Testing

/// The sound of a film that is repainted.
struct SoundTests {
  /// A packet of sound: when it is to be heard, in seconds from the first picture, and its length in bytes.
  private struct Packet {
    var time: Double
    var byteCount: Int
  }

  /// Pictures begin `delay` seconds after the sound.
  private func film(_ path: String, codec: String, delay: Double) throws {
    let made = try Running(
      "/usr/bin/ffmpeg",
      [
        "-v", "error", "-itsoffset", "\(delay)", "-f", "lavfi", "-i", "testsrc=duration=3:size=64x48:rate=10",
        "-f", "lavfi", "-i", "sine=duration=\(3 + delay)", "-c:v", "mjpeg", "-c:a", codec, path,
      ]
    ).wait()
    try #require(made.code == 0, "\(made.errors)")
  }

  private func probe(_ path: String, _ stream: String, _ entries: String) throws -> [[Substring]] {
    let words = ["-v", "error", "-select_streams", stream, "-show_entries", entries, "-of", "csv=p=0", path]
    let result = try Running("/usr/bin/ffprobe", words).wait()
    try #require(result.code == 0, "\(result.errors)")
    return result.text.split(separator: "\n").map { $0.split(separator: ",") }
  }

  private func packets(_ path: String) throws -> [Packet] {
    let first = try #require(try probe(path, "v:0", "packet=pts_time").first?.first.flatMap { Double($0) })
    return try probe(path, "a:0", "packet=pts_time,size").map {
      Packet(time: try #require(Double($0[0])) - first, byteCount: try #require(Int($0[1])))
    }
  }

  /// Packet by packet, at the times that they had beside the pictures; not what sounds before these.
  @Test(arguments: [("aac", 0.0), ("libopus", 0.0), ("aac", 0.5)])
  func aFilmKeepsItsSound(codec: String, delay: Double) throws {
    let folder = try TemporaryFolder()
    let film = folder.file("a.mkv")
    try self.film(film, codec: codec, delay: delay)
    let result = try Program.run(
      "run", "--input", film, "--model", "none", "--output", folder.file("b.mp4"), "--output",
      folder.file("c.mkv"))
    #expect(result.code == 0, "\(result.errors)")
    let all = try packets(film)
    let expected = all.filter { $0.time > -0.001 && $0.time < 2.95 }
    #expect(expected.count > 60 && (delay == 0 || expected.count < all.count))
    for name in ["b.mp4", "c.mkv"] {
      #expect(try Film(folder.file(name)).frames == 30)
      let found = try packets(folder.file(name))
      #expect(found.count >= expected.count && found.count <= expected.count + 8, "\(name)")
      let skipped = max(0, found.firstIndex { abs($0.time - expected[0].time) < 0.005 } ?? found.count)
      for (one, other) in zip(found.dropFirst(skipped), expected) {
        #expect(abs(one.time - other.time) < 0.005 && one.byteCount == other.byteCount, "\(name)")
      }
      let decoded = try Running(
        "/usr/bin/ffmpeg", ["-v", "error", "-i", folder.file(name), "-f", "null", "-"]
      ).wait()
      #expect(decoded.code == 0 && decoded.errors.isEmpty, "\(name): \(decoded.errors)")
    }
  }

  /// Which kind of film cannot hold it is told; the pictures go on.
  @Test(arguments: [[], ["--quiet"]])
  func soundThatDoesNotFitIsToldOf(quiet: [String]) throws {
    let folder = try TemporaryFolder()
    let film = folder.file("a.mkv")
    try self.film(film, codec: "wmav2", delay: 0)
    let result = try Program.start(
      ["run", "--input", film, "--model", "none", "--output", folder.file("b.mp4")] + quiet
    ).wait()
    #expect(result.code == 0)
    #expect(result.errors.contains("passed through") == quiet.isEmpty, "\(result.errors)")
    #expect(
      result.errors.contains("b.mp4 is without sound: .mp4 does not take its wmav2"), "\(result.errors)")
    #expect(try Film(folder.file("b.mp4")).frames == 30)
    #expect(try probe(folder.file("b.mp4"), "a", "stream=index").isEmpty)
  }

  /// A film that is played at its own pace, as to a browser, records pictures only: they are not all there.
  @Test func aFilmThatIsPlayedIsRecordedWithoutIt() throws {
    let folder = try TemporaryFolder()
    let film = folder.file("a.mkv")
    try self.film(film, codec: "aac", delay: 0)
    let result = try Program.run(
      "run", "--input", film, "--model", "none", "--loop", "--frames", "5", "--output", folder.file("b.mp4"))
    #expect(result.code == 0, "\(result.errors)")
    #expect(try probe(folder.file("b.mp4"), "a", "stream=index").isEmpty)
  }
}
