/// A JSON file of settings, read key by key. Every error names the file and the key.
public struct Config: Sendable {
  public let path: String
  public let object: JSONObject

  /// Reads a file whose outermost value is an object, at most 64 MB.
  public init(path: String) throws {
    let bytes: [UInt8]
    do { bytes = try FileSystem.read(path) } catch let error as DiffusionError {
      guard error.kind == .noInput else { throw error }
      throw DiffusionError(.noInput, path: path, "is missing", remedy: "Download the model folder again.")
    }
    try self.init(path: path, bytes: bytes)
  }

  public init(path: String, bytes: [UInt8]) throws {
    self.path = path
    do {
      // diffusers keeps what it does not read, such as another scheduler's -Infinity.
      guard let object = try JSON.parse(bytes, takesNaN: true).object else {
        throw DiffusionError(.data, path: path, "does not hold a JSON object")
      }
      self.object = object
    } catch let error as JSONError {
      throw DiffusionError(.data, path: path, "is not JSON: \(error)")
    }
  }

  public init(path: String, object: JSONObject) {
    self.path = path
    self.object = object
  }

  // MARK: Values

  /// The value of a key; null counts as absent.
  func value(_ key: String) -> JSON? {
    guard let value = object[key], !value.isNull else { return nil }
    return value
  }

  func int(_ key: String, _ fallback: Int, in range: ClosedRange<Int> = 1...Config.largest) throws -> Int {
    try optionalInt(key, in: range) ?? fallback
  }

  func optionalInt(_ key: String, in range: ClosedRange<Int> = 1...Config.largest) throws -> Int? {
    guard let value = value(key) else { return nil }
    guard let number = value.int, range.contains(number) else {
      throw wrongType(key, "an integer in \(range.lowerBound)...\(range.upperBound)", value)
    }
    return number
  }

  func number(_ key: String, _ fallback: Double) throws -> Double {
    guard let value = value(key) else { return fallback }
    guard let number = value.double, number.isFinite else { throw wrongType(key, "a number", value) }
    return number
  }

  func bool(_ key: String, _ fallback: Bool) throws -> Bool {
    guard let value = value(key) else { return fallback }
    guard let bool = value.bool else { throw wrongType(key, "true or false", value) }
    return bool
  }

  func string(_ key: String, _ fallback: String) throws -> String {
    guard let value = value(key) else { return fallback }
    guard let string = value.string else { throw wrongType(key, "a string", value) }
    return string
  }

  func string(_ key: String) throws -> String {
    guard value(key) != nil else {
      throw DiffusionError(.configuration, path: path, "lacks the key \(key)", remedy: Self.mend)
    }
    return try string(key, "")
  }

  /// A list of integers; at most `Config.mostBlocks` of them.
  func ints(_ key: String, _ fallback: [Int], least: Int = 1) throws -> [Int] {
    guard let value = value(key) else { return fallback }
    return try list(key, value) { $0.int.flatMap { (least...Config.largest).contains($0) ? $0 : nil } }
  }

  /// A list of integers, or one for all of `count`, as `fallback` is.
  func ints(_ key: String, _ fallback: Int, count: Int) throws -> [Int] {
    if value(key) == nil { return Array(repeating: fallback, count: count) }
    if let single = value(key)?.int {
      guard (1...Config.largest).contains(single) else {
        throw wrongType(key, "a positive integer", .number(Double(single)))
      }
      return Array(repeating: single, count: count)
    }
    let list = try ints(key, [])
    guard list.count == count else { throw wrongType(key, "\(count) entries", value(key) ?? .null) }
    return list
  }

  func numbers(_ key: String) throws -> [Double]? {
    guard let value = value(key) else { return nil }
    return try list(key, value, most: Config.largest) { $0.double.flatMap { $0.isFinite ? $0 : nil } }
  }

  func strings(_ key: String, _ fallback: [String]) throws -> [String] {
    guard let value = value(key) else { return fallback }
    return try list(key, value) { $0.string }
  }

  private func list<T>(_ key: String, _ value: JSON, most: Int = mostBlocks, _ read: (JSON) -> T?) throws
    -> [T]
  {
    guard let array = value.array, !array.isEmpty, array.count <= most else {
      throw wrongType(key, "a list of 1 to \(most)", value)
    }
    return try array.map {
      guard let item = read($0) else { throw wrongType(key, "another kind of entry", $0) }
      return item
    }
  }

  // MARK: Refusals

  /// Throws where one of these keys is there and null, with which diffusers would fail: it takes its default only for a
  /// key that is absent.
  func refuseNull(_ keys: [String]) throws {
    for key in keys where object[key]?.isNull == true {
      throw wrongType(key, "left out or have a value", .null)
    }
  }

  /// No width of a model, no count of anything is larger: products of three of them fit an Int.
  static let largest = 1 << 20
  static let mostBlocks = 64

  /// The value of `key` is no such thing.
  func wrongType(_ key: String, _ expected: String, _ found: JSON) -> DiffusionError {
    DiffusionError(
      .configuration, path: path, "\(key) should be \(expected), not \(found.kind)", remedy: Self.mend)
  }

  /// The value of `key` is of the right type and cannot be used.
  func invalid(_ key: String, _ fact: String) -> DiffusionError {
    DiffusionError(.configuration, path: path, "\(key): \(fact)", remedy: Self.mend)
  }

  private static let mend = "Download the file again, or correct it."

  /// Something diffusers has and this program has not; `known` is what it has.
  func unsupported(_ key: String, _ found: JSON, known: [String] = [], remedy: String? = nil)
    -> DiffusionError
  {
    let plain = known.isEmpty ? "Choose a model without it." : "Known are \(known.joined(separator: ", "))."
    return DiffusionError(
      .unavailable, path: path, "\(key) is \(found.kind), which turbocam does not have",
      remedy: remedy ?? plain)
  }

  /// Throws where `key` has a value that turbocam does not have: any but null, false and these.
  func refuse(_ key: String, except values: [String] = [], remedy: String? = nil) throws {
    guard let value = value(key), value != .bool(false) else { return }
    if let string = value.string, values.contains(string) { return }
    throw unsupported(key, value, known: values, remedy: remedy)
  }
}
