import Diffusion
import Engine
import TestSupport
import Testing

/// Weights that are drawn by counting: the numbers that `draw` of Tests/GPU/models.py gives with PyTorch.
struct GeneratedTensorsTests {
  private let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  private func rule(_ dtype: String, _ tensors: String, seed: Int = 4) throws -> Checkpoint {
    try folder.write(
      "weights.json",
      #"{"generator": "splitmix64", "seed": \#(seed), "dtype": "\#(dtype)", "tensors": {\#(tensors)}}"#)
    return try Checkpoint(folder: folder.path, name: "model")
  }

  private func bits<T: FixedWidthInteger>(_ checkpoint: Checkpoint, _ name: String, _ type: T.Type) throws
    -> [T]
  {
    let weights = ModelWeights(["it": checkpoint])
    return try weights.withBytes(of: "it/" + name) { bytes in
      (0..<bytes.count / MemoryLayout<T>.size).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
      }
    }
  }

  // models.draw(name, shape, 4, dtype)
  @Test func numbersAreThoseOfPyTorch() throws {
    let tensors = #""conv_in.weight": [4, 3, 2], "norm.weight": [5], "norm.bias": [5], "x": [3]"#
    var found = try rule("F16", tensors)
    #expect(
      try bits(found, "conv_in.weight", UInt16.self).prefix(5) == [0xb690, 0xb8a6, 0xb016, 0xb83e, 0x390d])
    #expect(try bits(found, "norm.weight", UInt16.self) == [0x3c20, 0x3c1e, 0x3c4f, 0x3b39, 0x3bf1])
    #expect(try bits(found, "norm.bias", UInt16.self) == [0x2e48, 0x1fab, 0xa79c, 0xab56, 0x264f])
    #expect(try bits(found, "x", UInt16.self) == [0xa865, 0x293a, 0x2d2d])
    found = try rule("F32", tensors)
    #expect(
      try bits(found, "conv_in.weight", UInt32.self).prefix(3) == [0xbed2_0929, 0xbf14_b3a9, 0xbe02_b63d])
    #expect(try bits(found, "norm.weight", UInt32.self).prefix(2) == [0x3f84_0ba2, 0x3f83_ca76])
    found = try rule("BF16", tensors)
    #expect(
      try bits(found, "conv_in.weight", UInt16.self).prefix(5) == [0xbed2, 0xbf15, 0xbe03, 0xbf08, 0x3f22])
    #expect(try bits(found, "norm.bias", UInt16.self) == [0x3dc9, 0x3bf5, 0xbcf4, 0xbd6b, 0x3cca])
  }

  /// More of them than one piece or one thread draws: the borders between them, and every piece in its place.
  @Test func largeTensorsAreDrawnInShares() throws {
    let found = try rule("F16", #""large": [3, 4194304]"#)
    let whole = try bits(found, "large", UInt16.self)
    let drawn: [(Int, UInt16)] = [
      (0, 0x03a1), (65536, 0x10e5), (4_194_303, 0x8f4b), (4_194_304, 0x1174), (4_194_305, 0x11b6),
      (8_388_607, 0x8aa0), (12_582_911, 0x0db3),
    ]
    for (place, expected) in drawn { #expect(whole[place] == expected, "\(place)") }
    var pieces: [UInt16] = []
    try ModelWeights(["it": found]).withPieces(of: "it/large") { place, bytes in
      #expect(place == 2 * pieces.count)
      pieces += bytes.bindMemory(to: UInt16.self)
    }
    #expect(pieces == whole)
  }

  @Test func anotherSeedIsAnotherModel() throws {
    let tensors = #""w": [8, 8]"#
    let first = try bits(rule("F16", tensors, seed: 1), "w", UInt16.self)
    #expect(try bits(rule("F16", tensors, seed: 2), "w", UInt16.self) != first)
    #expect(try bits(rule("F16", tensors, seed: 1), "w", UInt16.self) == first)
  }

  @Test func aFileOfWeightsComesFirst() throws {
    let source = Parity.root + "/sd-tiny/vae"
    try folder.link(source)
    _ = try rule("F16", #""w": [8]"#)
    let found = try Checkpoint(folder: folder.path, name: "diffusion_pytorch_model")
    #expect(found.path.hasSuffix(".safetensors") && found["w"] == nil)
  }

  @Test(arguments: [
    #"{}"#, #"{"generator": "splitmix64"}"#, #"{"generator": "other", "dtype": "F16", "tensors": {}}"#,
    #"{"generator": "splitmix64", "dtype": "U8", "tensors": {}}"#,
    #"{"generator": "splitmix64", "dtype": "F16", "tensors": []}"#,
    #"{"generator": "splitmix64", "dtype": "F16", "tensors": {"a": 3}}"#,
    #"{"generator": "splitmix64", "dtype": "F16", "tensors": {"a": [0]}}"#,
    #"{"generator": "splitmix64", "dtype": "F16", "tensors": {"a": [-1, 2]}}"#,
    #"{"generator": "splitmix64", "dtype": "F16", "tensors": {"a": [1000000, 1000000, 1000000, 1000000]}}"#,
    #"{"generator": "splitmix64", "dtype": "F16", "tensors": {"a": [1,1,1,1,1,1,1,1,1]}}"#,
    #"{"generator": "splitmix64", "seed": -1, "dtype": "F16", "tensors": {}}"#,
  ])
  func aWrongRuleIsRefused(text: String) throws {
    try folder.write("weights.json", text)
    let error = #expect(throws: DiffusionError.self) { try Checkpoint(folder: folder.path, name: "model") }
    #expect(error?.description.contains("weights.json") == true)
  }
}
