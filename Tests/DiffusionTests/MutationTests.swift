import Diffusion
import Engine
import TestSupport
import Testing

/// Seeded damage to every kind of file: it may be refused, it must not crash, and what is accepted must be
/// usable.
struct MutationTests {
  // MARK: Bytes

  private static let tokens = [
    "-1", "0", "1", "2", "3", "7", "255", "65536", "1048576", "9007199254740993", "1e300", "-1e-300", "0.5",
    "null",
    "true", "\"\"", "\"F64\"", "[]", "{}", "[0,0]", "[1,[2]]", "{\"a\":1}", ",", ":", "\"", "\\", "\u{0}",
    "\u{FEFF}",
    "</w>", "<|endoftext|>",
  ]

  private func mutate(_ bytes: [UInt8], _ random: inout SplitMix) -> [UInt8] {
    var bytes = bytes
    for _ in 0...Int.random(in: 0..<3, using: &random) where !bytes.isEmpty {
      let place = Int.random(in: 0..<bytes.count, using: &random)
      let end = min(bytes.count, place + Int.random(in: 1...40, using: &random))
      switch Int.random(in: 0..<6, using: &random) {
      case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(place..<end)
      case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
      case 4: bytes.removeSubrange(place...)
      default: bytes.replaceSubrange(place..<place, with: Self.tokens.randomElement(using: &random)!.utf8)
      }
    }
    return bytes
  }

  @Test func damagedSafetensorsNeverCrash() throws {
    let folder = try TemporaryFolder()
    let whole = try readFile(Parity.root + "/kl-odd/vae/diffusion_pytorch_model.safetensors")
    let header = 8 + Int(whole[0]) + Int(whole[1]) << 8 + Int(whole[2]) << 16
    var random = SplitMix(seed: 1)
    for round in 0..<1500 {
      // Half of them keep an honest length, so that what is behind it is read.
      let isHonest = round % 2 == 0
      let damaged = mutate(Array(whole[(isHonest ? 8 : 0)..<header]), &random)
      let length = (0..<8).map { UInt8(truncatingIfNeeded: damaged.count >> (8 * $0)) }
      let file = (isHonest ? length : []) + damaged + whole[header...]
      let path = try folder.write("a.safetensors", file)
      guard let file = try accepted({ try SafetensorsFile(path: path) }) else { continue }
      for record in file.tensors {
        try file.withBytes(of: record) { #expect($0.count == record.range.count) }
      }
    }
  }

  @Test func damagedJSONNeverCrashes() throws {
    let texts = [
      "sdxl-tiny/unet/config.json", "sdxl-tiny/model_index.json", "sd-tiny/tokenizer/tokenizer_config.json",
    ]
    var random = SplitMix(seed: 2)
    for text in texts {
      let whole = try readFile(Parity.root + "/" + text)
      for _ in 0..<1000 {
        do { _ = try JSON.parse(mutate(whole, &random)) } catch { #expect(error is JSONError) }
      }
    }
  }

  @Test(arguments: ["sd-tiny/tokenizer", "sdxl-tiny/tokenizer"])
  func damagedTokenizersNeverCrash(name: String) throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/" + name)
    var random = SplitMix(seed: 3)
    for file in folder.names {
      let whole = try readFile(folder.file(file))
      for _ in 0..<300 {
        try folder.replace(file, mutate(whole, &random))
        guard let tokenizer = try accepted({ try CLIPTokenizer(folder: folder.path, positions: 77) }) else {
          continue
        }
        let encoding = tokenizer.encode("A photo of a cat, it's 1987! <|endoftext|> é\u{301}\u{0}")
        #expect(encoding.tokens.count == tokenizer.length)
      }
      try folder.replace(file, whole)
    }
  }

  /// What is taken fits into a line of a terminal, and answers.
  @Test func damagedStylesNeverCrash() throws {
    let folder = try TemporaryFolder()
    let whole = try readFile(Parity.root + "/../models/spark/styles.json")
    var random = SplitMix(seed: 5)
    var taken = 0
    for _ in 0..<1500 {
      try folder.write("styles.json", mutate(whole, &random))
      guard let styles = try accepted({ try Styles(folder: folder.path) }), let styles else { continue }
      taken += 1
      let texts = styles.all.flatMap { [$0.name, $0.prompt] }
      #expect((1...64).contains(styles.all.count) && texts.allSatisfy { (1...100).contains($0.utf8.count) })
      #expect(texts.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } })
      #expect(styles.notice(of: "a dragon of glass") != nil || styles.notice(of: "oil") == nil)
    }
    #expect(taken > 0)
  }

  // MARK: Configurations

  /// Whole folders, with one value of one configuration changed: what is accepted must give a graph.
  @Test(arguments: Parity.pipelines + ["refiner-tiny"])
  func damagedConfigurationsNeverCrash(name: String) throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/" + name)
    var random = SplitMix(seed: 4)
    let files = [
      "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
      "text_encoder_2/config.json", "tokenizer/tokenizer_config.json", "tokenizer_2/tokenizer_config.json",
      "scheduler/scheduler_config.json",
    ]
    for file in files {
      guard let whole = folder.read(file) else { continue }
      let members = try #require(try JSON.parse(whole).object).members
      for round in 0..<members.count + 40 {
        // The first rounds drop every key in its turn.
        let index = round < members.count ? round : Int.random(in: 0..<members.count, using: &random)
        let value = round < members.count ? nil : damaged(members[index].value, &random)
        try folder.set(file, members[index].name, value)
        try writeGraph(folder.path)
        try folder.replace(file, whole)
      }
    }
  }

  /// Another value: of another kind, out of range, or one of a list changed, dropped or given twice.
  private func damaged(_ value: JSON, _ random: inout SplitMix) -> String {
    let other = Self.tokens.dropLast(8).randomElement(using: &random)!
    switch value {
    case .array(let array) where !array.isEmpty && Bool.random(using: &random):
      var texts = array.map(\.text)
      let index = texts.indices.randomElement(using: &random)!
      switch Int.random(in: 0..<4, using: &random) {
      case 0: texts.remove(at: index)
      case 1: texts.insert(texts[index], at: index)
      case 2: texts[index] = "[\(texts[index])]"
      default: texts[index] = array[index].double.map { damaged($0, &random) } ?? other
      }
      return "[\(texts.joined(separator: ","))]"
    case .number(let number) where Bool.random(using: &random): return damaged(number, &random)
    default: return Bool.random(using: &random) ? other : "[\(value.text)]"
    }
  }

  private func damaged(_ number: Double, _ random: inout SplitMix) -> String {
    let others: [Double] = [
      -number, 0, number + 1, number * 2, number / 2, number + 0.5, number * 1e9, 0x1p20, 0x1p31, 0x1p63,
      1e300,
    ]
    return JSON.number(others.randomElement(using: &random)!).text
  }

  /// Writes the graph of a small picture, if the folder is accepted.
  private func writeGraph(_ path: String) throws {
    guard let model = try accepted({ try ModelFolder(path: path) }) else { return }
    let size = model.autoencoder.encoderFactor
    for task in [Pipeline.Task.imageToImage, .textToImage] {
      let options = Pipeline.Options(width: 3 * size, height: size, steps: 2, task: task)
      #expect {
        try Pipeline(model: model, options: options, backend: GraphTaker(.bf16, wide: .f32))
      } throws: { error in
        error is GraphTaker.Taken
          || task == .textToImage && (error as? DiffusionError)?.fact.contains("refiner") == true
      }
    }
  }

  /// nil where it was refused; a refusal must be our own error.
  private func accepted<T>(_ open: () throws -> T) throws -> T? {
    do { return try open() } catch let error as DiffusionError {
      #expect(!error.description.isEmpty)
      return nil
    }
  }
}
