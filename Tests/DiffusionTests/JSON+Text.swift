import Diffusion
import TestSupport

extension TemporaryFolder {
  /// Gives a key of a JSON file another value, or takes it away where `value` is nil.
  func set(_ file: String, _ key: String, _ value: String?) throws {
    let object = try Config(path: path + "/" + file).object
    var texts = object.members.filter { $0.name != key }.map { "\"\($0.name)\": \($0.value.text)" }
    if let value { texts.append("\"\(key)\": \(value)") }
    try replace(file, Array("{\(texts.joined(separator: ","))}".utf8))
  }
}
