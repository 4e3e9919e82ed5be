/// `styles.json` of a model folder: the styles that a model of few words knows, for people to choose from.
///
///     {"styles": [{"name": "oil", "prompt": "oil painting", "phrases": ["oil on canvas", …]}, …], "words": ["a", …]}
///
/// `phrases` are other prompts for the style. `words` are those around them, which ask for no style; where the key is
/// there, the model has learnt these and the phrases' words and no others. Training/ writes such a file; diffusers reads
/// over it.
public struct Styles: Sendable {
  public struct Style: Equatable, Sendable {
    /// For people.
    public let name: String
    /// What asks for it.
    public let prompt: String

    public init(name: String, prompt: String) { (self.name, self.prompt) = (name, prompt) }
  }

  public let all: [Style]
  /// Words of prompts and phrases that are in no others.
  private let asking: Set<String>
  /// All words that the model knows; nil where it may know more than are listed.
  private let learnt: Set<String>?

  /// Most of what the file may hold; a text may have so many bytes.
  private static let mostBytes = 256 << 10
  private static let mostStyles = 64
  private static let mostPhrases = 256
  private static let mostWords = 8192
  private static let longestText = 100

  /// nil where the folder has no such file. Throws `DiffusionError` where it cannot be read.
  public init?(folder: String) throws {
    let path = folder + "/styles.json"
    guard FileSystem.isFile(path) else { return nil }
    let config = try Config(path: path, bytes: try FileSystem.read(path, limit: Self.mostBytes))
    let entries = try Self.entries(config)
    all = try entries.map {
      Style(name: try Self.text("name", $0), prompt: try Self.text("prompt", $0))
    }
    let phrases = try all.map(\.prompt) + entries.flatMap { try Self.texts("phrases", $0, Self.mostPhrases) }
    let others = Set(try Self.texts("words", config, Self.mostWords).flatMap(Self.words))
    let known = Set(phrases.flatMap(Self.words))
    asking = known.subtracting(others)
    learnt = config.value("words") == nil ? nil : known.union(others)
  }

  // MARK: Prompts

  /// What a person should know of a prompt: words that the model has not learnt, or that no word asks for a style. nil
  /// where nothing is amiss, and where the file does not tell all words that the model knows.
  public func notice(of prompt: String) -> String? {
    guard let learnt else { return nil }
    let words = Self.words(prompt)
    var unknown: [String] = []
    for word in words where !learnt.contains(word) && Self.isOfLetters(word) && !unknown.contains(word) {
      unknown.append(word)
      if unknown.count == Self.mostNamed { break }
    }
    if !unknown.isEmpty {
      let named = unknown.map { "\"\($0.prefix(40))\"" }.joined(separator: ", ")
      return "the model does not know \(named); it knows: \(prompts)"
    }
    if words.isEmpty || words.contains(where: asking.contains) { return nil }
    return "the prompt names no style that the model knows; it knows: \(prompts)"
  }

  /// Unknown words, and prompts, that one notice names.
  private static let mostNamed = 5
  private static let mostPrompts = 24

  /// What asks for each style, in one line.
  public var prompts: String {
    let named = all.prefix(Self.mostPrompts).map(\.prompt).joined(separator: ", ")
    return all.count > Self.mostPrompts ? named + " and others" : named
  }

  /// Lower-case words and single figures, as the tokenizer cuts them.
  private static func words(_ text: String) -> [String] {
    CLIPPreTokenizer.words(CLIPPreTokenizer.normalize(text)[...]).compactMap { word in
      guard let first = word.first, [.letter, .number].contains(CLIPPreTokenizer.kind(first)) else {
        return nil
      }
      return String(String.UnicodeScalarView(word))
    }
  }

  /// Of figures nobody is told.
  private static func isOfLetters(_ word: String) -> Bool {
    word.unicodeScalars.first.map { CLIPPreTokenizer.kind($0) == .letter } ?? false
  }

  // MARK: Reading

  private static func entries(_ config: Config) throws -> [Config] {
    let value = config.value("styles") ?? .null
    let objects = value.array?.compactMap(\.object) ?? []
    guard (1...mostStyles).contains(objects.count), objects.count == value.array?.count else {
      throw config.wrongType("styles", "a list of 1 to \(mostStyles) objects", value)
    }
    return objects.map { Config(path: config.path, object: $0) }
  }

  private static func text(_ key: String, _ config: Config) throws -> String {
    let text = try config.string(key)
    guard isPlain(text) else { throw refusal(key, config, .string(text)) }
    return text
  }

  private static func texts(_ key: String, _ config: Config, _ most: Int) throws -> [String] {
    guard let value = config.value(key) else { return [] }
    guard let array = value.array, array.count <= most else {
      throw config.wrongType(key, "a list of at most \(most) texts", value)
    }
    return try array.map {
      guard let text = $0.string, isPlain(text) else { throw refusal(key, config, $0) }
      return text
    }
  }

  private static func refusal(_ key: String, _ config: Config, _ value: JSON) -> DiffusionError {
    let fact = value.string == nil ? value.kind : "one that is empty, longer or not printable"
    return config.invalid(key, "should be of 1 to \(longestText) bytes that can be printed, not \(fact)")
  }

  /// Whether it may go to a terminal and into a page: one line, nothing that moves a cursor or turns text round.
  private static func isPlain(_ text: String) -> Bool {
    (1...longestText).contains(text.utf8.count)
      && text.unicodeScalars.allSatisfy {
        switch $0.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
          return false
        default: return true
        }
      }
  }
}
