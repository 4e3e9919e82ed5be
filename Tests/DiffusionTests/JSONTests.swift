import Diffusion
import Testing

struct JSONTests {
  private func parse(_ text: String) throws -> JSON { try JSON.parse(Array(text.utf8)) }

  @Test func readsEveryKindOfValue() throws {
    let json = try parse(
      #" {"a": [1, -2.5, 1e3, 0], "b": {"c": null, "d": true, "e": false}, "f": "x\n\"\u00e9\ud83d\ude00\/é"} "#
    )
    let object = try #require(json.object)
    #expect(object["a"]?.array?.map(\.double) == [1, -2.5, 1000, 0])
    #expect(object["b"]?.object?["c"]?.isNull == true)
    #expect(object["b"]?.object?["d"]?.bool == true)
    #expect(object["f"]?.string == "x\n\"é😀/é")
    #expect(object["missing"] == nil)
    #expect(object.members.map(\.name) == ["a", "b", "f"])
  }

  @Test(arguments: [
    "", " ", "{", "[", "[1,]", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "[1 2]", "01", "1.", ".5", "+1", "-", "1e",
    "1e999",
    "nul", "True", "NaN", "Infinity", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
    "\"\t\"",
    "[1]x", "{\"a\":1,\"a\":2}", "'a'", "// a\n1", "\u{0}",
  ])
  func refusesWhatIsNotJSON(text: String) {
    #expect(throws: JSONError.self) { try parse(text) }
  }

  @Test func refusesDeepNestingAndBadUTF8() {
    #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 100_000)) }
    #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xFF, 0x22]) }
    #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xED, 0xA0, 0x80, 0x22]) }
  }

  @Test func canonicallyEquivalentNamesAreTwo() throws {
    let object = try #require(try parse("{\"\u{E9}\": 1, \"e\u{301}\": 2}").object)
    #expect(object["\u{E9}"]?.int == 1)
    #expect(object["e\u{301}"]?.int == 2)
  }

  @Test func errorsTellThePlace() {
    #expect { try parse("{\"a\": tru}") } throws: { ($0 as? JSONError)?.byteOffset == 9 }
  }
}
