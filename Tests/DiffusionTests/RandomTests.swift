import Diffusion
import Testing

/// `torch.randn` draw by draw.
struct RandomTests {
  @Test func normalsAreThoseOfTorch() throws {
    let parity = try Parity("random")
    let cases = parity.cases("random")
    #expect(cases.count > 20)
    for entry in cases {
      var generator = TorchGenerator(seed: try seed(entry))
      let sizes = try #require(entry.json["sizes"]?.array).compactMap(\.int)
      for (draw, size) in sizes.enumerated() {
        let expected = try parity.floats(try #require(entry.output("\(draw)")))
        let found = generator.normals(size)
        #expect(found.count == expected.count)
        // Torch's vectorised sine and cosine are a few units in the last place off.
        let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 1
        #expect(worst <= 4e-6, "\(entry.name), draw \(draw)")
      }
    }
  }

  /// From the name `random.<seed>.<call>`, for JSON numbers lose the last bits of 2^63 - 1.
  private func seed(_ entry: Case) throws -> Int {
    try #require(Int(entry.name.split(separator: ".")[1]))
  }
}
