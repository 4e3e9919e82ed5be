import Diffusion

extension JSON {
  /// As a file has it. Only for texts without quotes, backslashes and control characters.
  var text: String {
    switch self {
    case .null: return "null"
    case .bool(let bool): return "\(bool)"
    case .number(let number): return int.map(String.init) ?? "\(number)"
    case .string(let string): return "\"\(string)\""
    case .array(let array): return "[" + array.map(\.text).joined(separator: ",") + "]"
    case .object(let object):
      return "{" + object.members.map { "\"\($0.name)\":\($0.value.text)" }.joined(separator: ",") + "}"
    }
  }
}

extension TemporaryFolder {
  /// Gives a key of a JSON file another value, or takes it away where `value` is nil.
  func set(_ file: String, _ key: String, _ value: String?) throws {
    let object = try Config(path: path + "/" + file).object
    var texts = object.members.filter { $0.name != key }.map { "\"\($0.name)\": \($0.value.text)" }
    if let value { texts.append("\"\(key)\": \(value)") }
    try replace(file, Array("{\(texts.joined(separator: ","))}".utf8))
  }
}
