/// One thing that turbocam does: `turbocam NAME`.
protocol Subcommand {
  static var name: String { get }
  /// One line for `turbocam --help`.
  static var summary: String { get }
  /// What follows the name in the usage line.
  static var synopsis: String { get }
  static var options: [Option] { get }
  /// What `--help` says after the options.
  static var notes: String { get }
  /// Checks everything that can be checked without doing anything.
  init(_ arguments: Arguments) throws
  /// Gives the exit code.
  func run() throws -> Int32
}

extension Subcommand {
  static var notes: String { "" }
  static var help: String {
    let notes = notes.isEmpty ? "" : "\n\(notes)\n"
    return """
      Usage: turbocam \(name) \(synopsis)
      \(summary)

      \(table(options + [Option("help", nil, "show this")]))
      \(notes)
      """
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
