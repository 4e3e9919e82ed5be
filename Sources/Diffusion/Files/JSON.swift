/// A JSON value (RFC 8259).
///
/// The reader is our own, small and strict: FoundationEssentials would more than double the program's size.
public enum JSON: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSON])
  case object(JSONObject)

  /// A number without a fraction, in the range in which Double holds every integer.
  public var int: Int? {
    guard case .number(let number) = self else { return nil }
    guard number.rounded(.towardZero) == number, abs(number) <= 9_007_199_254_740_992 else { return nil }
    return Int(number)
  }
  public var double: Double? {
    if case .number(let number) = self { return number }
    return nil
  }
  public var bool: Bool? {
    if case .bool(let bool) = self { return bool }
    return nil
  }
  public var string: String? {
    if case .string(let string) = self { return string }
    return nil
  }
  public var array: [JSON]? {
    if case .array(let array) = self { return array }
    return nil
  }
  public var object: JSONObject? {
    if case .object(let object) = self { return object }
    return nil
  }
  public var isNull: Bool { self == .null }

  /// What it is, for error messages.
  public var kind: String {
    switch self {
    case .null: return "null"
    case .bool(let bool): return bool ? "true" : "false"
    case .number(let number): return "the number \(int.map(String.init) ?? String(number))"
    case .string(let string): return "the string \"\(string.prefix(60))\""
    case .array(let array): return "an array of \(array.count)"
    case .object(let object): return "an object of \(object.members.count)"
    }
  }
}

/// The members of a JSON object in the order of the file; names are unique.
public struct JSONObject: Equatable, Sendable {
  public struct Member: Equatable, Sendable {
    public let name: String
    public let value: JSON

    public init(name: String, value: JSON) {
      self.name = name
      self.value = value
    }
  }

  public let members: [Member]

  public init(_ members: [Member]) { self.members = members }

  public subscript(name: String) -> JSON? {
    // Bytes, not characters: Swift takes canonically equivalent strings for equal, JSON does not.
    members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
  }

  /// With these members, in the place of those of the same names.
  func setting(_ changes: [Member]) -> JSONObject {
    JSONObject(members.filter { member in !changes.contains { $0.name == member.name } } + changes)
  }
}

/// Where and why a text is not JSON.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
  public let byteOffset: Int
  public let fact: String
  public var description: String { "\(fact) at byte \(byteOffset)" }
}

extension JSON {
  /// Parses the whole of `bytes`; throws `JSONError`. Nesting is limited to 64, names must be unique, and
  /// there are at most two million values. With `takesNaN` numbers may be NaN, Infinity and -Infinity, which
  /// Python writes.
  public static func parse(_ bytes: UnsafeRawBufferPointer, takesNaN: Bool = false) throws -> JSON {
    var parser = JSONParser(bytes, takesNaN: takesNaN)
    return try parser.document()
  }
  public static func parse(_ bytes: [UInt8], takesNaN: Bool = false) throws -> JSON {
    try bytes.withUnsafeBytes { try parse($0, takesNaN: takesNaN) }
  }
}
