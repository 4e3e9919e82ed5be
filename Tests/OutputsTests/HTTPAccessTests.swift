import Outputs
import TestSupport
import Testing

/// Who may watch and who may change settings, and where the server listens.
@Suite(.serialized) struct HTTPAccessTests {
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
    // Elsewhere, also at another port of this machine, a link may lead here; a picture or a frame may not show us.
    for (site, mode, destination, status) in [
      ("cross-site", "no-cors", "image", 403), ("cross-site", "navigate", "iframe", 403),
      ("cross-site", "navigate", "document", 200), ("same-site", "no-cors", "image", 403),
      ("same-site", "navigate", "iframe", 403), ("same-site", "navigate", "document", 200),
      ("same-origin", "no-cors", "image", 200), ("same-origin", "cors", "empty", 200),
      ("none", "navigate", "document", 200), ("else-where", "no-cors", "image", 403),
    ] {
      let headers = ["Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination]
      #expect(house.ask("GET", "/", headers)?.status == status, "\(site) \(destination)")
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
      #expect(error.description.contains("export TURBOCAM_TOKEN="))
    }
    #expect(throws: OutputError.self) {
      var options = SinkOptions()
      options.token = ""
      _ = try HTTPServer(HTTPAddress(parsing: "http://127.0.0.1:0"), options: options)
    }
  }

  /// Whoever writes 127.0.0.1 for it is served, wherever the resolver's first answer leads.
  @Test func localhostIsServedByIPv4() throws {
    let house = try House(host: "localhost")
    #expect(house.server.address.host == "localhost")
    #expect(house.ask("GET", "/state", ["Host": "localhost:\(house.port)"])?.status == 200)
  }

  /// An address of the range for documentation.
  @Test func anotherMachinesAddressIsSaid() throws {
    var options = SinkOptions()
    options.token = "s3cret"
    let error = try #require(throws: OutputError.self) {
      try HTTPServer(HTTPAddress(parsing: "http://192.0.2.1:0"), options: options).open()
    }
    #expect(error.exitCode == 69)
    #expect(error.description.contains("ip -brief address"))
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
