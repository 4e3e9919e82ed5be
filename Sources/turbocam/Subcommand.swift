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
