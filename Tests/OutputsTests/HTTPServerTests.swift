import Frames
import Glibc
import Outputs
import TestSupport
import Testing

@Suite(.serialized) struct HTTPServerTests {
  private final class House {
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

  // MARK: - Settings

  @Test func aPatchChangesSettings() throws {
    let house = try House()
    let answer = try #require(house.patch("{\"strength\":0.25}"))
    #expect(answer.status == 200)
    #expect(answer.text == "{\"strength\":0.25}")
    #expect(house.ask("GET", "/state")?.text == "{\"strength\":0.25}")
  }

  @Test func aBadPatchChangesNothingAndSaysWhy() throws {
    let house = try House()
    for body in ["{\"strength\":2}", "{", "", "[]", "{\"strength\":\"0.3\"}"] {
      let answer = try #require(house.patch(body))
      #expect(answer.status == 400)
      #expect(answer.text == "{\"error\":\"strength is \\\"wrong\\\"\"}\n")
    }
    #expect(house.control.strength.withLock { $0 } == 0.5)
  }

  @Test func longBodiesAreRefused() throws {
    let house = try House()
    let long = String(repeating: "x", count: 17 * 1024)
    #expect(house.patch(long)?.status == 413)
    // The same in chunks, without a length announced.
    let client = HTTPClient(house.port)
    client.request(
      "PATCH", "/settings", ["Content-Type": "application/json", "Transfer-Encoding": "chunked"])
    client.send(Array("\(String(long.utf8.count, radix: 16))\r\n\(long)\r\n0\r\n\r\n".utf8))
    #expect(client.answer()?.status == 413)
    #expect(house.control.strength.withLock { $0 } == 0.5)
  }

  @Test func settingsChangeOnlyFromOurOwnPage() throws {
    let house = try House()
    let body = "{\"strength\":0.25}"
    #expect(house.patch(body, ["Content-Type": "text/plain"])?.status == 415)
    #expect(house.ask("PATCH", "/settings", body: Array(body.utf8))?.status == 415)
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"] {
      #expect(house.patch(body, ["Origin": origin])?.status == 403)
    }
    #expect(house.patch(body, ["Host": "evil.example", "Origin": "http://evil.example"])?.status == 403)
    #expect(house.control.strength.withLock { $0 } == 0.5)
    let ours = "127.0.0.1:\(house.port)"
    let type = "application/json; charset=utf-8"
    #expect(
      house.patch(body, ["Host": ours, "Origin": "http://\(ours)", "Content-Type": type])?.status == 200)
  }

  // MARK: - Who may ask

  @Test func withoutATokenOnlyOurNamesAnswer() throws {
    let house = try House()
    for host in ["127.0.0.1", "localhost:8080", "127.1.2.3:9", "[::1]:80", "cam.localhost"] {
      #expect(house.ask("GET", "/state", ["Host": host])?.status == 200)
    }
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", ""]
    {
      #expect(house.ask("GET", "/state", ["Host": host])?.status == 403)
      #expect(house.ask("GET", "/stream", ["Host": host])?.status == 403)
    }
    // Elsewhere a link may lead here; a picture or a frame may not show us.
    for (mode, destination, status) in [
      ("no-cors", "image", 403), ("navigate", "iframe", 403), ("navigate", "document", 200),
    ] {
      let cross = [
        "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination,
      ]
      #expect(house.ask("GET", "/", cross)?.status == status, "\(destination)")
    }
  }

  @Test func everyRequestBringsTheToken() throws {
    let house = try House(token: "s3cret&+/=", host: "0.0.0.0")
    for target in ["/", "/stream", "/snapshot", "/state", "/nothing"] {
      let answer = try #require(house.ask("GET", target))
      #expect(answer.status == 401)
      #expect(answer.headers["www-authenticate"]?.hasPrefix("Bearer") == true)
    }
    for wrong in ["", "s3cret", "s3cret&+/=x", "s3cret&+/-"] {
      #expect(house.ask("GET", "/state", ["Authorization": "Bearer \(wrong)"])?.status == 401)
    }
    #expect(house.ask("GET", "/state?token=wrong")?.status == 401)
    #expect(house.patch("{\"strength\":0.25}")?.status == 401)
    #expect(house.control.strength.withLock { $0 } == 0.5)
    #expect(house.ask("GET", "/state?token=s3cret%26%2B%2F%3D")?.status == 200)
    let bearer = ["Authorization": "Bearer s3cret&+/=", "Host": "camera.example"]
    #expect(house.ask("GET", "/state", bearer)?.status == 200)
    #expect(house.patch("{\"strength\":0.25}", bearer)?.status == 200)
  }

  @Test func otherAddressesNeedAToken() throws {
    for host in ["0.0.0.0", "[::]"] {
      let error = try #require(throws: OutputError.self) {
        try HTTPServer(HTTPAddress(parsing: "http://\(host):0"), options: SinkOptions()).open()
      }
      #expect(error.exitCode == 64)
      #expect(error.description.contains("--token"))
    }
    #expect(throws: OutputError.self) {
      var options = SinkOptions()
      options.token = ""
      _ = try HTTPServer(HTTPAddress(parsing: "http://127.0.0.1:0"), options: options)
    }
  }

  @Test func aPortInUseIsSaid() throws {
    let house = try House()
    let error = try #require(throws: OutputError.self) {
      try HTTPServer(house.server.address, options: SinkOptions()).open()
    }
    #expect(error.exitCode == 69)
    #expect(error.description.contains("http://127.0.0.1:\(house.port)"))
    #expect(error.description.contains("--output http://127.0.0.1:"))
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

@Suite struct HTTPAddressTests {
  @Test(arguments: [
    ("http://127.0.0.1:8080", "127.0.0.1", 8080), ("http://localhost:0/", "localhost", 0),
    ("http://[::1]:81", "::1", 81), ("http://camera.example:65535", "camera.example", 65535),
  ])
  func reads(_ spec: String, _ host: String, _ port: UInt16) throws {
    let address = try HTTPAddress(parsing: spec)
    #expect(address.host == host)
    #expect(address.port == port)
    #expect(address.description == (spec.hasSuffix("/") ? String(spec.dropLast()) : spec))
  }

  @Test(arguments: [
    "http://", "http://127.0.0.1", "http://127.0.0.1:", "http://:8080", "http://127.0.0.1:65536",
    "http://127.0.0.1:-1", "http://127.0.0.1:+80", "http://127.0.0.1:8080/stream", "http://::1:8080",
    "http://[::1:8080", "http://[::1]8080", "http://user@host:80", "https://127.0.0.1:80", "http://a:８０",
  ])
  func refuses(_ spec: String) {
    let error = #expect(throws: OutputError.self) { try HTTPAddress(parsing: spec) }
    #expect(error?.exitCode == 64)
  }
}
