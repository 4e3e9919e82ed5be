import TestSupport
import Testing

/// The sound of a film that is repainted.
struct SoundTests {
  /// A packet of sound: when it is to be heard, in seconds from the first picture, and its checksum.
  private struct Packet {
    var time: Double
    var content: Substring
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

  /// The bytes of a broadcast of so many seconds, with a key frame every two and stamps from `offset` on.
  private func broadcast(_ path: String, seconds: Int, offset: Int = 0) throws -> [UInt8] {
    let made = try Running(
      "/usr/bin/ffmpeg",
      [
        "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10", "-f", "lavfi", "-i", "sine",
        "-t", "\(seconds)", "-c:v", "libx264", "-g", "20", "-pix_fmt", "yuv420p", "-c:a", "mp2",
        "-output_ts_offset", "\(offset)", path,
      ]
    ).wait()
    try #require(made.code == 0, "\(made.errors)")
    return try readFile(path)
  }

  /// The words that ffprobe gives for these entries, one after the other.
  private func probe(_ path: String, _ stream: String, _ entries: String) throws -> [Substring] {
    let words = [
      "-v", "error", "-select_streams", stream, "-show_data_hash", "CRC32", "-show_entries", entries, "-of",
      "csv=p=0", path,
    ]
    let result = try Running("/usr/bin/ffprobe", words).wait()
    try #require(result.code == 0, "\(result.errors)")
    return result.text.split { $0 == "\n" || $0 == "," }
  }

  private func packets(_ path: String) throws -> [Packet] {
    // The first that decodes: a film may begin between two key frames.
    let first = try #require(try probe(path, "v:0", "frame=pts_time").first.flatMap { Double($0) })
    let words = try probe(path, "a:0", "packet=pts_time,data_hash")
    try #require(words.count % 2 == 0, "\(path)")
    return try stride(from: 0, to: words.count, by: 2).map {
      Packet(time: try #require(Double(words[$0])) - first, content: words[$0 + 1])
    }
  }

  /// Whether the sound of the film at `path` is what is expected, packet by packet.
  private func expectSound(_ path: String, _ expected: [Packet]) throws {
    let found = try packets(path)
    #expect(found.count >= expected.count && found.count <= expected.count + 8, "\(path)")
    // In an .mp4 the first packet begins with the pictures, however much later it should.
    let second = try #require(found.firstIndex { $0.content == expected[1].content }, "\(path)")
    try #require(second > 0, "\(path)")
    #expect(found[second - 1].content == expected[0].content, "\(path)")
    // libav's .mkv has Opus 6.5 ms too early.
    for (one, other) in zip(found[second...], expected.dropFirst()) {
      #expect(abs(one.time - other.time) < 0.01 && one.content == other.content, "\(path)")
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
      try expectSound(folder.file(name), expected)
      let decoded = try Running(
        "/usr/bin/ffmpeg", ["-v", "error", "-i", folder.file(name), "-f", "null", "-"]
      ).wait()
      #expect(decoded.code == 0 && decoded.errors.isEmpty, "\(name): \(decoded.errors)")
    }
  }

  /// A broadcast that was cut begins with pictures that do not decode: what sounds with them is left out.
  @Test func aFilmCutBetweenKeyFramesKeepsItsSoundInTime() throws {
    let folder = try TemporaryFolder()
    let whole = folder.file("whole.ts")
    let bytes = try broadcast(whole, seconds: 6)
    let places = try probe(whole, "v:0", "packet=pos").compactMap { Int($0) }
    let film = try folder.write("a.ts", Array(bytes[try #require(places.dropFirst(4).first)...]))
    let result = try Program.run(
      "run", "--input", film, "--model", "none", "--output", folder.file("b.mp4"), "--output",
      folder.file("c.mkv"))
    #expect(result.code == 0, "\(result.errors)")
    let all = try packets(film)
    // Of four seconds, after more than one without a picture.
    let expected = all.filter { $0.time > -0.001 && $0.time < 3.9 }
    try #require(expected.count > 100 && expected.count + 30 < all.count)
    for name in ["b.mp4", "c.mkv"] { try expectSound(folder.file(name), expected) }
  }

  /// Broadcasts end to end, where the stamps go back, and where they run ahead by minutes.
  @Test(arguments: [[30, 0], [0, 200]])
  func soundGoesOnWhereStampsJump(offsets: [Int]) throws {
    let folder = try TemporaryFolder()
    let parts = try offsets.map { try broadcast(folder.file("part.\($0).ts"), seconds: 3, offset: $0) }
    let film = try folder.write("a.ts", parts[0] + parts[1])
    let result = try Program.run(
      "run", "--input", film, "--model", "none", "--output", folder.file("b.mkv"))
    #expect(result.code == 0, "\(result.errors)")
    #expect(result.errors.contains("b.mkv: the time stamps of the film jump"), "\(result.errors)")
    let times = try packets(folder.file("b.mkv")).map(\.time)
    try #require(times.count > 200)
    #expect(times[0] < 0.1 && (5.5...6).contains(times[times.count - 1]), "\(times)")
    for (one, next) in zip(times, times.dropFirst()) { #expect(next > one && next - one < 0.1, "\(times)") }
  }

  /// Which kind of film cannot hold it is told; the pictures go on. That .mp4 cannot hold AC-3 is known only
  /// when its head has been begun.
  @Test(arguments: ["wmav2", "ac3", "eac3"], [[], ["--quiet"]])
  func soundThatDoesNotFitIsToldOf(codec: String, quiet: [String]) throws {
    let folder = try TemporaryFolder()
    let film = folder.file("a.mkv")
    try self.film(film, codec: codec, delay: 0)
    let result = try Program.start(
      ["run", "--input", film, "--model", "none", "--output", folder.file("b.mp4")] + quiet
    ).wait()
    #expect(result.code == 0)
    #expect(result.errors.contains("passed through") == quiet.isEmpty, "\(result.errors)")
    #expect(
      result.errors.contains("b.mp4 is without sound: .mp4 does not take its \(codec)"), "\(result.errors)")
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
