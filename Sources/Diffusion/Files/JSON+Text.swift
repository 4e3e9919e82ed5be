extension JSON {
  /// An object, written as a dictionary literal would be, order kept.
  public static func object(_ members: KeyValuePairs<String, JSON>) -> JSON {
    .object(JSONObject(members.map { JSONObject.Member(name: $0.key, value: $0.value) }))
  }
  public static func integer(_ value: Int) -> JSON { .number(Double(value)) }

  /// The text without white space. Whole numbers print without a fraction, what is not finite as null.
  public var text: String {
    var text = ""
    write(to: &text)
    return text
  }
  /// The text as UTF-8.
  public var bytes: [UInt8] { Array(text.utf8) }

  private func write(to text: inout String) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .number(let value): text += Self.format(value)
    case .string(let value): Self.quote(value, to: &text)
    case .array(let values):
      Self.list("[", values, "]", to: &text) { $0.write(to: &$1) }
    case .object(let object):
      Self.list("{", object.members, "}", to: &text) {
        Self.quote($0.name, to: &$1)
        $1 += ":"
        $0.value.write(to: &$1)
      }
    }
  }

  private static func list<Item>(
    _ opening: String, _ items: [Item], _ closing: String, to text: inout String,
    _ write: (Item, inout String) -> Void
  ) {
    text += opening
    for (index, item) in items.enumerated() {
      if index > 0 { text += "," }
      write(item, &text)
    }
    text += closing
  }

  private static func format(_ value: Double) -> String {
    guard value.isFinite else { return "null" }
    if value == value.rounded(), abs(value) < 9e15 { return String(Int(value)) }
    return String(value)
  }

  private static func quote(_ value: String, to text: inout String) {
    text += "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
