import Base
import Glibc

/// From words to a subcommand to an exit code.
@main
enum Program {
  static let version = "0.1.0"
  static var subcommands: [any Subcommand.Type] {
    [
      RunCommand.self, ImageCommand.self, TextCommand.self, DevicesCommand.self, DoctorCommand.self,
      BenchCommand.self, QuantizeCommand.self, KernelsCommand.self,
    ]
  }

  static func main() {
    fillStandardDescriptors()
    // A reader that went away is an error of write(2), not the end of the program.
    signal(SIGPIPE, SIG_IGN)
    // So is a file that reached its limit.
    signal(SIGXFSZ, SIG_IGN)
    Terminal.end(with: run(CommandLine.arguments.dropFirst()))
  }

  /// One that is closed would go to the first file that is opened, and messages into it.
  private static func fillStandardDescriptors() {
    var descriptor: Int32
    repeat { descriptor = open("/dev/null", O_RDWR) } while (0...2).contains(descriptor)
    if descriptor > 2 { close(descriptor) }
  }

  private static func run(_ words: ArraySlice<String>) -> Int32 {
    do {
      try checkText()
      return try dispatch(words)
    } catch {
      Terminal.complain("\(error)")
      return exitCode(of: error)
    }
  }

  /// Swift puts other characters in the place of bytes that are no UTF-8: of a file's name they would make another's.
  private static func checkText() throws(UsageError) {
    for number in 1..<max(1, CommandLine.arguments.count) {
      guard let bytes = CommandLine.unsafeArgv[number], String(validatingCString: bytes) == nil else {
        continue
      }
      throw UsageError(
        "argument \(number), '\(CommandLine.arguments[number])', is not UTF-8; give the file a name that is")
    }
  }

  private static func dispatch(_ words: ArraySlice<String>) throws -> Int32 {
    guard let first = words.first else { return try start(RunCommand.self, words) }
    switch first {
    case "--help", "-h":
      try Terminal.print(help)
      return 0
    case "help":
      guard let name = words.dropFirst().first else {
        try Terminal.print(help)
        return 0
      }
      try Terminal.print(subcommand(name).help)
      return 0
    case _ where first.hasPrefix("-"):
      return try start(RunCommand.self, words)
    case _ where isInput(first):
      throw UsageError("unknown command '\(first)'; did you mean --input \(first)?")
    default:
      return try start(try subcommand(first), words.dropFirst())
    }
  }

  /// Whether a word that is no command's name is a file, a device or an address.
  private static func isInput(_ word: String) -> Bool {
    !subcommands.contains { $0.name == word } && (addressScheme(of: word) != nil || fileExists(word))
  }

  private static func subcommand(_ name: String) throws(UsageError) -> any Subcommand.Type {
    guard let found = subcommands.first(where: { $0.name == name }) else {
      throw .unknown("command", name, known: subcommands.map { $0.name })
    }
    return found
  }

  private static func start(_ type: any Subcommand.Type, _ words: ArraySlice<String>) throws -> Int32 {
    let options = words.prefix { $0 != "--" }
    if options.contains(where: ["--help", "-h"].contains) {
      try Terminal.print(type.help)
      return 0
    }
    if options.contains("--version") {
      try Terminal.print("turbocam \(version)")
      return 0
    }
    return try type.init(Arguments(words, command: type.name, options: type.options)).run()
  }

  private static var help: String {
    let width = (subcommands.map { $0.name.count }.max() ?? 0) + 2
    let list = subcommands.map {
      "  " + $0.name + String(repeating: " ", count: width - $0.name.count) + $0.summary
    }
    return """
      Usage: turbocam [COMMAND] [OPTIONS]
      Repaints a live camera with a diffusion model.

      \(list.joined(separator: "\n"))

        --help     show this; 'turbocam COMMAND --help' tells about a command
        --version  show the version

      Without a command it is 'turbocam run': the first camera, or the demo clip where there is none,
      repainted by the embedded model and shown at http://127.0.0.1:8080.
      """
  }
}
