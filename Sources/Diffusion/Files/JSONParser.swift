/// A recursive-descent reader of JSON over bytes that nobody vouches for.
struct JSONParser {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private static let deepest = 64
  private static let mostValues = 2_000_000
  private var valueCount = 0

  private let takesNaN: Bool

  init(_ bytes: UnsafeRawBufferPointer, takesNaN: Bool) { (self.bytes, self.takesNaN) = (bytes, takesNaN) }

  mutating func document() throws -> JSON {
    // Some editors write a byte-order mark.
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { position = 3 }
    let value = try value(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw error("text after the end") }
    return value
  }

  // MARK: Values

  private mutating func value(depth: Int) throws -> JSON {
    skipSpace()
    guard depth < Self.deepest else { throw error("nested deeper than \(Self.deepest)") }
    valueCount += 1
    guard valueCount <= Self.mostValues else { throw error("more than \(Self.mostValues) values") }
    switch peek {
    case UInt8(ascii: "{"): return .object(try object(depth: depth + 1))
    case UInt8(ascii: "["): return .array(try array(depth: depth + 1))
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case UInt8(ascii: "N") where takesNaN: return try literal("NaN", .number(.nan))
    case UInt8(ascii: "I") where takesNaN: return try literal("Infinity", .number(.infinity))
    case nil: throw error("the text ends where a value is due")
    case let byte? where byte == UInt8(ascii: "-") || Self.isDigit(byte): return .number(try number())
    default: throw error("no value starts like this")
    }
  }

  private mutating func object(depth: Int) throws -> JSONObject {
    position += 1
    var members: [JSONObject.Member] = []
    var seen = Set<[UInt8]>()
    skipSpace()
    if take("}") { return JSONObject([]) }
    while true {
      skipSpace()
      guard peek == UInt8(ascii: "\"") else { throw error("a member's name is due") }
      let start = position
      let name = try string()
      guard seen.insert(Array(name.utf8)).inserted else {
        position = start
        throw error("the name \"\(name.prefix(120))\" appears twice")
      }
      skipSpace()
      guard take(":") else { throw error("':' is due") }
      members.append(JSONObject.Member(name: name, value: try value(depth: depth)))
      skipSpace()
      if take("}") { return JSONObject(members) }
      guard take(",") else { throw error("',' or '}' is due") }
    }
  }

  private mutating func array(depth: Int) throws -> [JSON] {
    position += 1
    var items: [JSON] = []
    skipSpace()
    if take("]") { return [] }
    while true {
      items.append(try value(depth: depth))
      skipSpace()
      if take("]") { return items }
      guard take(",") else { throw error("',' or ']' is due") }
    }
  }

  private mutating func literal(_ word: StaticString, _ value: JSON) throws -> JSON {
    for index in 0..<word.utf8CodeUnitCount {
      guard peek == word.utf8Start[index] else { throw error("'\(word)' is due") }
      position += 1
    }
    return value
  }

  // MARK: Numbers

  private mutating func number() throws -> Double {
    let start = position
    _ = take("-")
    if takesNaN, peek == UInt8(ascii: "I") {
      _ = try literal("Infinity", .null)
      return -.infinity
    }
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits()
    }
    guard position - start <= 512 else { throw error("a number of \(position - start) characters") }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let number = Double(text), number.isFinite else { throw error("a number out of range") }
    return number
  }

  private mutating func digits() throws {
    let start = position
    while let byte = peek, Self.isDigit(byte) { position += 1 }
    guard position > start else { throw error("a digit is due") }
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
  }

  // MARK: Strings

  private mutating func string() throws -> String {
    position += 1
    let start = position
    while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
      position += 1
    }
    if peek == UInt8(ascii: "\"") {
      defer { position += 1 }
      return try text(bytes[start..<position])
    }
    return try escapedString(Array(bytes[start..<position]))
  }

  private mutating func escapedString(_ beginning: [UInt8]) throws -> String {
    var units = beginning
    while let byte = peek {
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return try text(units[...])
      case UInt8(ascii: "\\"): try escape(into: &units)
      case 0..<0x20: throw error("a control character in a string")
      default: units.append(byte)
      }
    }
    throw error("the text ends in a string")
  }

  private func text(_ units: some Sequence<UInt8>) throws -> String {
    guard let text = String(validating: units, as: UTF8.self) else { throw error("bytes that are not UTF-8") }
    return text
  }

  private mutating func escape(into units: inout [UInt8]) throws {
    guard let byte = peek else { throw error("the text ends in a string") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): units.append(byte)
    case UInt8(ascii: "b"): units.append(0x08)
    case UInt8(ascii: "f"): units.append(0x0C)
    case UInt8(ascii: "n"): units.append(0x0A)
    case UInt8(ascii: "r"): units.append(0x0D)
    case UInt8(ascii: "t"): units.append(0x09)
    case UInt8(ascii: "u"): units.append(contentsOf: String(try escapedScalar()).utf8)
    default: throw error("an unknown escape")
    }
  }

  private mutating func escapedScalar() throws -> Character {
    var code = try hexadecimal()
    if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
      let low = try hexadecimal()
      guard (0xDC00..<0xE000).contains(low) else { throw error("half a surrogate pair") }
      code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw error("half a surrogate pair") }
    return Character(scalar)
  }

  private mutating func hexadecimal() throws -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw error("four hexadecimal digits are due")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }

  // MARK: Bytes

  private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard peek == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private func error(_ fact: String) -> JSONError { JSONError(byteOffset: position, fact: fact) }
}
