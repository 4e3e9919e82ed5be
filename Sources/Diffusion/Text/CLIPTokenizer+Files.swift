/// Reading a tokenizer's folder: `tokenizer_config.json`, and the vocabulary in `tokenizer.json` or in
/// `vocab.json` and `merges.txt`.
extension CLIPTokenizer {
  private static let defaultSpecial = [
    "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
  ]

  /// - Parameter positions: longest prompt that the text encoder can take, used where the tokenizer's
  ///   `model_max_length` is absent or transformers' "very large".
  public init(folder: String, positions: Int) throws {
    let configPath = folder + "/tokenizer_config.json"
    let config = try Self.optional(configPath) ?? Config(path: configPath, bytes: Array("{}".utf8))
    let special = try Self.specialTokens(folder, config)
    let vocabulary = try Vocabulary(folder: folder)
    let unknown = special["unk_token"] ?? ""
    let encoding: BytePairEncoding
    do {
      encoding = try BytePairEncoding(vocabulary: vocabulary.ids, merges: vocabulary.merges, unknown: unknown)
    } catch let fault as BytePairEncoding.Fault {
      throw DiffusionError(.data, path: vocabulary.path, fault.fact)
    }
    func id(_ key: String) throws -> Int32 {
      let name = special[key] ?? ""
      guard let id = encoding.id(of: name) else {
        throw DiffusionError(.data, path: vocabulary.path, "lacks the \(key) \"\(name.prefix(60))\"")
      }
      return id
    }
    self.init(
      encoding, added: try Self.added(folder, config, vocabulary, special, encoding),
      start: try id("bos_token"), end: try id("eos_token"), pad: try id("pad_token"),
      length: try Self.length(config, positions))
  }

  private static func length(_ config: Config, _ positions: Int) throws -> Int {
    guard let value = config.value("model_max_length") else { return positions }
    guard let number = value.double, number >= 2 else {
      throw config.wrongType("model_max_length", "2 or more", value)
    }
    // Without a limit transformers writes 1e30.
    guard number < 1e9 else { return positions }
    guard let length = value.int, length <= positions else {
      throw config.invalid(
        "model_max_length", "\(number) is more than the text encoder's \(positions) positions")
    }
    return length
  }

  /// The names of the special tokens: from tokenizer_config.json, else special_tokens_map.json, else CLIP's
  /// own. Where the former does not list tokens, as older ones do not, the map counts before it
  /// (transformers' PreTrainedTokenizerBase): Stable Diffusion 2's pads with "!", which only the map says.
  private static func specialTokens(_ folder: String, _ config: Config) throws -> [String: String] {
    let map = try optional(folder + "/special_tokens_map.json")
    let files = isOld(config) ? [map, config] : [config, map]
    return try defaultSpecial.reduce(into: [:]) { result, entry in
      let names = try files.compactMap { try $0.flatMap { try name(entry.key, $0) } }
      result[entry.key] = names.first ?? entry.value
    }
  }

  private static func isOld(_ config: Config) -> Bool { config.value("added_tokens_decoder") == nil }

  private static func optional(_ path: String) throws -> Config? {
    FileSystem.isFile(path) ? try Config(path: path) : nil
  }

  /// A token is written as its text, or as an object with its `content`.
  private static func name(_ key: String, _ config: Config) throws -> String? {
    guard let value = config.value(key) else { return nil }
    guard let name = value.string ?? value.object?["content"]?.string else {
      throw config.wrongType(key, "a token", value)
    }
    return name
  }

  // MARK: Added tokens

  /// Those that the files list, and the special tokens, which always count.
  private static func added(
    _ folder: String, _ config: Config, _ vocabulary: Vocabulary, _ special: [String: String],
    _ encoding: BytePairEncoding
  ) throws -> [Added] {
    var added: [String: Added] = [:]
    for name in special.values {
      guard let id = encoding.id(of: name) else { continue }
      added[name] = Added(name, id: id)
    }
    for entry in try listed(config) + older(folder, config, special) + vocabulary.added {
      // Of a special token the vocabulary's own number counts.
      let id = encoding.id(of: entry.name) ?? entry.id
      added[entry.name] = Added(
        entry.name, id: id, isNormalized: entry.isNormalized, isSingleWord: entry.isSingleWord)
    }
    return Array(added.values)
  }

  /// `added_tokens_decoder` of tokenizer_config.json: an object from numbers to tokens.
  private static func listed(_ config: Config) throws -> [Vocabulary.AddedToken] {
    guard let value = config.value("added_tokens_decoder") else { return [] }
    guard let members = value.object?.members else {
      throw config.wrongType("added_tokens_decoder", "an object", value)
    }
    return try members.map { member in
      guard let id = Int32(member.name), let token = Vocabulary.AddedToken(member.value, id: id) else {
        throw config.wrongType("added_tokens_decoder", "numbers with tokens", member.value)
      }
      return token
    }
  }

  /// added_tokens.json, an object from tokens to numbers: where older files have what textual inversion
  /// added.
  private static func older(_ folder: String, _ config: Config, _ special: [String: String]) throws
    -> [Vocabulary.AddedToken]
  {
    guard isOld(config), let file = try optional(folder + "/added_tokens.json") else { return [] }
    return try file.object.members.map { member in
      guard let number = member.value.int, let id = Int32(exactly: number), id >= 0 else {
        throw file.wrongType(member.name, "a token's number", member.value)
      }
      return Vocabulary.AddedToken(
        member.name, id: id, isNormalized: !special.values.contains(member.name))
    }
  }
}

/// Tokens with their numbers, and merges, from either form of file.
struct Vocabulary {
  struct AddedToken {
    let name: String
    let id: Int32
    let isNormalized, isSingleWord: Bool

    init(_ name: String, id: Int32, isNormalized: Bool) {
      (self.name, self.id, self.isNormalized, isSingleWord) = (name, id, isNormalized, false)
    }

    init?(_ json: JSON, id: Int32) {
      guard let object = json.object, let name = object["content"]?.string, id >= 0 else { return nil }
      self.name = name
      self.id = id
      isNormalized = object["normalized"]?.bool ?? false
      isSingleWord = object["single_word"]?.bool ?? false
    }
  }

  let path: String
  let ids: JSONObject
  let merges: [(String, String)]
  let added: [AddedToken]

  init(folder: String) throws {
    let (whole, ids) = (folder + "/tokenizer.json", folder + "/vocab.json")
    if FileSystem.isFile(ids) {
      try self.init(vocab: ids, merges: folder + "/merges.txt")
    } else if FileSystem.isFile(whole) {
      try self.init(tokenizer: whole)
    } else {
      throw DiffusionError(
        .noInput, path: folder, "has neither tokenizer.json nor vocab.json",
        remedy: "Download the model folder again.")
    }
  }

  // MARK: vocab.json and merges.txt

  private init(vocab: String, merges: String) throws {
    path = vocab
    ids = try Config(path: vocab).object
    added = []
    let lines = try FileSystem.read(merges).split(separator: UInt8(ascii: "\n"))
    self.merges = try lines.enumerated().compactMap { number, line in
      if line.starts(with: "#version".utf8) { return nil }
      let parts = line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }
      return try Self.pair(
        parts.compactMap { String(validating: $0, as: UTF8.self) }, merges, "line \(number + 1)")
    }
  }

  // MARK: tokenizer.json

  private init(tokenizer: String) throws {
    path = tokenizer
    let config = try Config(path: tokenizer)
    guard let model = config.value("model")?.object, let vocab = model["vocab"]?.object else {
      throw DiffusionError(.data, path: tokenizer, "has no model with a vocab")
    }
    if let type = model["type"], type != .string("BPE") { throw config.unsupported("model.type", type) }
    guard model["end_of_word_suffix"] == .string("</w>") else {
      throw config.unsupported("model.end_of_word_suffix", model["end_of_word_suffix"] ?? .null)
    }
    ids = vocab
    merges = try (model["merges"]?.array ?? []).enumerated().map { number, entry in
      let parts =
        entry.array?.compactMap(\.string) ?? entry.string?.split(separator: " ").map(String.init) ?? []
      return try Self.pair(parts, tokenizer, "merge \(number)")
    }
    added = try (config.value("added_tokens")?.array ?? []).map { entry in
      guard let id = entry.object?["id"]?.int, let small = Int32(exactly: id),
        let token = AddedToken(entry, id: small)
      else { throw config.wrongType("added_tokens", "tokens with numbers", entry) }
      return token
    }
  }

  private static func pair(_ parts: [String], _ path: String, _ place: String) throws -> (String, String) {
    guard parts.count == 2 else {
      throw DiffusionError(.data, path: path, "\(place) is not a pair of tokens")
    }
    return (parts[0], parts[1])
  }
}
