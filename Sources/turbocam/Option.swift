/// A long option.
struct Option: Sendable {
  /// Without the dashes.
  let name: String
  /// What `--help` calls its value; nil for an option that takes none.
  let value: String?
  /// What `--help` says of it: as long as need be, it is broken into lines there. A line's end begins a new
  /// one.
  let help: String

  init(_ name: String, _ value: String? = nil, _ help: String) {
    (self.name, self.value, self.help) = (name, value, help)
  }
}

/// Columns of `--help`.
private let helpWidth = 100

/// `text` in lines of at most so many characters, but for longer words.
func wrapped(_ text: some StringProtocol, to width: Int) -> [String] {
  var lines: [String] = []
  for word in text.split(separator: " ") {
    if let line = lines.last, line.count + 1 + word.count <= width {
      lines[lines.count - 1] = "\(line) \(word)"
    } else {
      lines.append(String(word))
    }
  }
  return lines
}

/// Options in two columns.
func table(_ options: [Option]) -> String {
  let heads = options.map { "  --\($0.name)" + ($0.value.map { " \($0)" } ?? "") }
  let width = (heads.map(\.count).max() ?? 0) + 2
  return zip(heads, options).map { head, option in
    let lines = option.help.split(separator: "\n").flatMap { wrapped($0, to: helpWidth - width) }
    let margin = String(repeating: " ", count: width)
    return head + String(repeating: " ", count: width - head.count)
      + lines.joined(separator: "\n\(margin)")
  }.joined(separator: "\n")
}
