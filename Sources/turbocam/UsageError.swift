import Base

/// What is wrong with a command line.
struct UsageError: Error, Equatable, CustomStringConvertible {
  var message: String
  /// The subcommand whose `--help` tells more, nil for the program's own.
  var command: String?

  init(_ message: String, command: String? = nil) { (self.message, self.command) = (message, command) }

  var description: String {
    let help = command.map { "turbocam \($0) --help" } ?? "turbocam --help"
    return "\(message)\nTry '\(help)'."
  }
}

extension UsageError {
  /// Names the known word that looks most like `word`, where one does.
  static func unknown(_ kind: String, _ word: String, known: [String], command: String? = nil) -> UsageError {
    let bare = word.drop { $0 == "-" }
    let nearest = known.map {
      (name: $0, distance: editDistance(String(bare), String($0.drop { $0 == "-" })))
    }
    .min { $0.distance < $1.distance }
    // Of a short word every other is a few letters away.
    guard let nearest, nearest.distance <= max(2, bare.count / 2), nearest.distance < bare.count else {
      return UsageError("unknown \(kind) '\(word)'", command: command)
    }
    return UsageError("unknown \(kind) '\(word)'; did you mean '\(nearest.name)'?", command: command)
  }
}
