import Frames
import Glibc
import Outputs
import TestSupport
import Testing

@Suite(.serialized) struct HTTPServerTests {
  // MARK: - Stream

  @Test(arguments: ["/stream", "/?action=stream"])
  func partsAreWhatUstreamerSends(_ target: String) throws {
    let house = try House()
    let client = HTTPClient(house.port)
    client.request("GET", target)
    let head = try #require(client.answer(hasBody: false))
    #expect(head.status == 200)
    #expect(head.headers["content-type"] == "multipart/x-mixed-replace;boundary=boundarydonotcross")
    #expect(head.headers["cache-control"]?.contains("no-store") == true)
    #expect(head.headers["pragma"] == "no-cache")
    #expect(head.headers["transfer-encoding"] == nil)
    #expect(head.headers["access-control-allow-origin"] == nil)
    for number in 1...5 as ClosedRange<UInt32> {
      house.server.mailbox.put(Sample.jpeg(number, count: 1000 + Int(number) * 70_000))
      var part = try #require(client.part())
      // A repetition of the frame before may come first.
      while Sample.number(part.body) == number - 1 { part = try #require(client.part()) }
      #expect(part.body == Sample.file(number, count: 1000 + Int(number) * 70_000))
      #expect(part.headers["content-type"] == "image/jpeg")
      let stamp = try #require(part.headers["x-timestamp"].flatMap(Double.init))
      #expect(abs(stamp - Double(time(nil))) < 5)
    }
  }

  @Test func rawPicturesAreEncoded() throws {
    let house = try House()
    let client = house.watch()
    house.server.mailbox.put(Sample.picture(64, 48, color: (200, 60, 30)))
    let part = try #require(client.part())
    let decoder = try JPEGDecoder()
    var rgb = [UInt8](repeating: 0, count: 64 * 48 * 3)
    try part.body.withUnsafeBytes { jpeg in
      let info = try decoder.info(jpeg)
      #expect(info.width == 64 && info.height == 48)
      _ = try rgb.withUnsafeMutableBytes { try decoder.decode(jpeg, into: $0) }
    }
    let last = rgb.suffix(3)
    for (found, wanted) in zip(last, [200, 60, 30]) { #expect(abs(Int(found) - wanted) < 10) }
  }

  @Test func blinkSeesTheNextHeadersAtOnce() throws {
    let house = try House()
    let client = house.watch(
      "/stream", ["User-Agent": "Mozilla/5.0 AppleWebKit/537.36 Chrome/120.0 Safari/537.36"])
    house.server.mailbox.put(Sample.jpeg(7))
    #expect(
      client.readHead()?.hasPrefix("--boundarydonotcross\r\nContent-Type: image/jpeg\r\nX-Timestamp: ")
        == true)
    #expect(client.read(4096) == Sample.file(7))
    // Before there is another frame:
    #expect(client.readHead()?.hasPrefix("\r\n--boundarydonotcross\r\nContent-Type: image/jpeg\r\n") == true)
  }

  @Test func theLastFrameIsRepeated() throws {
    let house = try House()
    let client = house.watch()
    house.server.mailbox.put(Sample.jpeg(3))
    #expect(client.part()?.body == Sample.file(3))
    #expect(client.part()?.body == Sample.file(3))
    // Counted once, although it was sent twice.
    #expect(house.statistics.stage(.written).read().total == 1)
  }

  @Test func beforeTheFirstFrameThereIsANotice() throws {
    let house = try House()
    let part = try #require(house.watch().part())
    #expect(part.body.starts(with: [0xFF, 0xD8]))
    #expect(try part.body.withUnsafeBytes { try JPEGDecoder().info($0) }.width == 640)
  }

  /// They come quicker than the clock's steps: who waits still gets the notice, a snapshot when its time is over.
  @Test func picturesThatCannotBeShownDoNotStopTheClock() throws {
    let house = try House()
    let mailbox = house.server.mailbox
    let stop = StopFlag()
    let feeder = try StageThread("feeder") {
      while !stop.isSet {
        mailbox.put(Sample.broken())
        usleep(1000)
      }
    }
    defer {
      stop.set()
      feeder.join()
    }
    let snapshot = HTTPClient(house.port, patience: 60)
    snapshot.request("GET", "/snapshot")
    let stream = HTTPClient(house.port, patience: 60)
    stream.request("GET", "/stream")
    #expect(stream.answer(hasBody: false)?.status == 200)
    let part = try #require(stream.part())
    #expect(try part.body.withUnsafeBytes { try JPEGDecoder().info($0) }.width == 640)
    #expect(snapshot.answer()?.status == 503)
    #expect(eventually { house.counters.corrupt.load(ordering: .relaxed) > 0 })
  }

  @Test func framesAreWantedWhileSomebodyWatches() throws {
    let house = try House()
    #expect(!house.server.mailbox.isWanted)
    do {
      let client = house.watch()
      #expect(eventually { house.server.mailbox.isWanted })
      #expect(house.counters.viewers.load(ordering: .relaxed) == 1)
      house.server.mailbox.put(Sample.jpeg(1))
      #expect(client.part() != nil)
    }
    #expect(eventually { !house.server.mailbox.isWanted })
    #expect(house.counters.viewers.load(ordering: .relaxed) == 0)
  }

  /// Two servers of one program count their viewers together.
  @Test func viewersOfAllServersAreCounted() throws {
    var options = SinkOptions()
    let counters = Counters()
    options.counters = counters
    let servers = try (0..<2).map { _ in
      try HTTPServer(HTTPAddress(parsing: "http://127.0.0.1:0"), options: options)
    }
    let running = try servers.map { try Running($0) }
    func watch(_ server: HTTPServer) -> HTTPClient {
      let client = HTTPClient(server.address.port)
      client.request("GET", "/stream")
      _ = client.answer(hasBody: false)
      return client
    }
    let first = [watch(servers[0]), watch(servers[0])]
    let second = watch(servers[1])
    #expect(counters.viewers.load(ordering: .relaxed) == 3)
    for server in running { server.end() }
    #expect(counters.viewers.load(ordering: .relaxed) == 0)
    withExtendedLifetime((first, second)) {}
  }

  @Test func aSlowReaderGetsTheNewestFrame() throws {
    let house = try House()
    let slow = house.watch(receiveBuffer: 64 * 1024)
    let quick = house.watch()
    #expect(eventually { house.server.viewers == 2 })
    let last: UInt32 = 60
    for number in 1...last {
      house.server.mailbox.put(Sample.jpeg(number, count: 200_000))
      while let part = quick.part(), Sample.number(part.body) != number {}
    }
    var seen: [UInt32] = []
    while seen.last != last, let part = slow.part() {
      #expect(part.body == Sample.file(Sample.number(part.body)!, count: 200_000))
      seen.append(Sample.number(part.body)!)
    }
    #expect(seen.last == last)
    #expect(seen == seen.sorted())
    // 60 frames are 12 MB; what the kernel had taken before the reader woke is a few of them.
    #expect(seen.count < 15)
  }

  @Test func viewersAreBounded() throws {
    let house = try House()
    let viewers = (0..<HTTPServer.viewerLimit).map { _ in house.watch() }
    #expect(eventually { house.server.viewers == viewers.count })
    #expect(house.ask("GET", "/stream")?.status == 503)
    #expect(house.ask("GET", "/state")?.status == 200)
    // All of them hold a frame, and the next still gets through.
    for number in 1...3 as ClosedRange<UInt32> {
      house.server.mailbox.put(Sample.jpeg(number))
      for viewer in viewers {
        while let part = viewer.part(), Sample.number(part.body) != number {}
      }
    }
  }

  @Test func itEndsWithViewersAttached() throws {
    let house = try House()
    let viewers = (0..<5).map { _ in house.watch() }
    let waiting = HTTPClient(house.port)
    waiting.request("GET", "/snapshot")
    let stuck = house.watch(receiveBuffer: 4096)
    #expect(eventually { house.server.viewers == 7 })
    house.server.mailbox.put(Sample.jpeg(1, count: 20_000_000))
    #expect(house.running.end() == nil)
    for viewer in viewers { #expect(viewer.ends) }
    #expect(stuck.ends)
  }

  // MARK: - Snapshot

  @Test(arguments: ["/snapshot", "/?action=snapshot"])
  func aSnapshotIsFresh(_ target: String) throws {
    let house = try House()
    // What came while nobody watched is not shown later.
    house.server.mailbox.put(Sample.jpeg(1))
    #expect(eventually { house.server.mailbox.take(timeout: 0) == nil })
    for number in 2...3 as ClosedRange<UInt32> {
      let client = HTTPClient(house.port)
      client.request("GET", target)
      #expect(eventually { house.server.mailbox.isWanted })
      house.server.mailbox.put(Sample.jpeg(number))
      let answer = try #require(client.answer())
      #expect(answer.status == 200)
      #expect(answer.headers["content-type"] == "image/jpeg")
      #expect(answer.body == Sample.file(number))
      #expect(eventually { !house.server.mailbox.isWanted })
    }
  }

  @Test func aSnapshotBesideAStreamWaitsForTheNextFrame() throws {
    let house = try House()
    let stream = house.watch()
    house.server.mailbox.put(Sample.jpeg(1))
    #expect(stream.part() != nil)
    let client = HTTPClient(house.port)
    client.request("GET", "/snapshot")
    #expect(eventually { house.server.viewers == 2 })
    house.server.mailbox.put(Sample.jpeg(2))
    #expect(client.answer()?.body == Sample.file(2))
  }

  @Test func aSnapshotWaitsForAPicturePastNotices() throws {
    let house = try House()
    let client = HTTPClient(house.port)
    client.request("GET", "/snapshot")
    #expect(eventually { house.server.mailbox.isWanted })
    for number in 1...3 as ClosedRange<UInt32> {
      house.server.mailbox.put(Sample.notice(number))
      usleep(50_000)
    }
    house.server.mailbox.put(Sample.jpeg(4))
    let answer = try #require(client.answer())
    #expect(answer.status == 200)
    #expect(answer.body == Sample.file(4))
  }

  /// Whoever keeps snapshots must not keep a notice for one.
  @Test func aSnapshotWithoutAPictureSaysWhy() throws {
    let house = try House()
    let client = HTTPClient(house.port)
    client.request("GET", "/snapshot")
    #expect(eventually { house.server.mailbox.isWanted })
    house.server.mailbox.put(Sample.notice(1))
    let answer = try #require(client.answer())
    #expect(answer.status == 503)
    #expect(answer.headers["retry-after"] == "1")
    #expect(answer.headers["content-type"] == "image/jpeg")
    #expect(answer.body == Sample.file(1))
  }

  // MARK: - Pages and methods

  @Test func thePageComesAlone() throws {
    let house = try House()
    let page = try #require(house.ask("GET", "/"))
    #expect(page.status == 200)
    #expect(page.headers["content-type"] == "text/html; charset=utf-8")
    #expect(page.headers["content-security-policy"]?.contains("default-src 'none'") == true)
    #expect(page.text.hasPrefix("<!doctype html>"))
    for loader in ["src=\"http", "href=\"http", "url(http", "import("] {
      #expect(!page.text.contains(loader))
    }
  }

  /// An element that is not there, or twice, would stop the script or change another setting.
  @Test func thePageHasWhatItsScriptNames() throws {
    let house = try House()
    let page = try #require(house.ask("GET", "/")).text
    let ids = page.matches(of: /\sid="(\w+)"/).map { String($0.1) }
    #expect(ids.count == Set(ids).count, "\(ids)")
    let named = Set(page.matches(of: /\$\("(\w+)"\)/).map { String($0.1) })
    #expect(!named.isEmpty && named.isSubset(of: ids), "\(named.subtracting(ids))")
    for setting in ["prompt", "strength", "steps", "seed", "steady", "still", "mirror", "compare"] {
      #expect(ids.contains(setting), "\(setting)")
    }
    for setting in ["strength", "steps", "seed", "steady", "still"] {
      #expect(page.contains("<input type=\"range\" data-for=\"\(setting)\""), "\(setting)")
    }
  }

  @Test(arguments: [
    ("GET", "/nothing", 404), ("GET", "/?action=reboot", 404), ("GET", "/../etc/passwd", 404),
    ("POST", "/", 405), ("POST", "/stream", 405), ("DELETE", "/state", 405), ("GET", "/settings", 405),
    ("OPTIONS", "/settings", 405), ("HEAD", "/", 200), ("HEAD", "/stream", 200), ("HEAD", "/snapshot", 200),
    ("HEAD", "/state", 200), ("HEAD", "/nothing", 404), ("GET", "/state", 200),
    ("GET", "/?action=state", 200),
  ])
  func methodsAndPaths(_ method: String, _ target: String, _ status: Int) throws {
    let house = try House()
    let answer = try #require(house.ask(method, target))
    #expect(answer.status == status)
    if status == 405 {
      #expect(answer.headers["allow"] == (target == "/settings" ? "PATCH" : "GET, HEAD"))
      #expect(!answer.body.isEmpty)
    }
    // A HEAD of the stream is not a viewer.
    #expect(house.server.viewers == 0)
  }

  // MARK: - Rudeness

  /// Connections that only hang around fill one address's share, not the house.
  @Test func oneAddressDoesNotKeepOthersOut() throws {
    let house = try House()
    let idle = (0..<48).map { _ in HTTPClient(house.port) }
    #expect(HTTPClient(house.port).ends)
    let other = HTTPClient(house.port, from: 0x7F00_0002)
    other.request("GET", "/state")
    #expect(other.answer()?.status == 200)
    withExtendedLifetime(idle) {}
  }

  @Test func hostileRequestsDoNoHarm() throws {
    let house = try House()
    var random = SplitMix(seed: 366)
    let words = [
      "GET", "PATCH", "HEAD", " ", "/", "/stream", "/settings", "?action=", "?token=", "%00", "%zz",
      "HTTP/1.1",
      "HTTP/9.9", "\r\n", "\n", "Host:", "Host: 127.0.0.1\r\n", "Content-Length: -1\r\n",
      "Content-Length: 99999999999999999999\r\n", "Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFF\r\n",
      "Content-Type: application/json\r\n", ":", "\0", "é", String(repeating: "A", count: 40_000),
      "Authorization: Bearer \r\n", "Cookie: a=b; c\r\n", "\r\n\r\n",
    ]
    for round in 0..<60 {
      let client = HTTPClient(house.port)
      if round % 2 == 0 {
        var text = ""
        for _ in 0..<Int.random(in: 1...14, using: &random) { text += words.randomElement(using: &random)! }
        client.send(Array(text.utf8))
      } else {
        client.send(
          (0..<Int.random(in: 1...3000, using: &random)).map { _ in .random(in: 0...255, using: &random) })
      }
      if round % 5 == 0 { _ = house.ask("GET", "/state") }
    }
    #expect(house.ask("GET", "/state")?.status == 200)
    #expect(house.control.strength.withLock { $0 } == 0.5)
    #expect(eventually { house.server.viewers == 0 })
  }
}
