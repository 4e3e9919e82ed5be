import Filter
import Frames

/// A command line taken apart: `--name value`, `--name=value`, `--name`, operands; `--` ends the options.
struct Arguments {
  /// The subcommand, for messages.
  let command: String
  private(set) var operands: [String] = []
  /// What every command takes (`Program`).
  private static let everywhere = ["--help", "--version"]
  private var values: [String: [String]] = [:]

  init(_ words: some Sequence<String>, command: String, options: [Option]) throws(UsageError) {
    self.command = command
    var words = Array(words)[...]
    while let word = words.popFirst() {
      if word == "--" {
        operands += words
        break
      }
      // "-" alone names standard output.
      guard word.hasPrefix("-"), word != "-" else {
        operands.append(word)
        continue
      }
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard let option = options.first(where: { "--\($0.name)" == name }) else {
        throw .unknown(
          "option", name, known: options.map { "--\($0.name)" } + Self.everywhere, command: command)
      }
      let attached = parts.count == 2 ? String(parts[1]) : nil
      values[option.name, default: []].append(try value(of: option, attached, &words))
    }
  }

  private func value(of option: Option, _ attached: String?, _ words: inout ArraySlice<String>)
    throws(UsageError) -> String
  {
    guard let placeholder = option.value else {
      if attached != nil { throw fail("--\(option.name) takes no value") }
      return ""
    }
    guard let value = attached ?? words.popFirst() else {
      throw fail("--\(option.name) needs a value: --\(option.name) \(placeholder)")
    }
    return value
  }

  func fail(_ message: String) -> UsageError { UsageError(message, command: command) }

  func has(_ name: String) -> Bool { values[name] != nil }
  func all(_ name: String) -> [String] { values[name] ?? [] }
  /// Given more than once, the last counts.
  func last(_ name: String) -> String? { values[name]?.last }

  func integer(_ name: String, in range: ClosedRange<Int>) throws(UsageError) -> Int? {
    guard let text = last(name) else { return nil }
    guard let value = Int(text), range.contains(value) else {
      throw fail(
        "--\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound), not '\(text)'")
    }
    return value
  }

  /// A number above 0 and at most `limit`.
  func positive(_ name: String, atMost limit: Double) throws(UsageError) -> Double? {
    guard let text = last(name) else { return nil }
    guard let value = Double(text), value > 0, value <= limit else {
      throw fail("--\(name) must be a number above 0 and at most \(Self.plain(limit)), not '\(text)'")
    }
    return value
  }

  func number(_ name: String, in range: ClosedRange<Double>) throws(UsageError) -> Double? {
    guard let text = last(name) else { return nil }
    guard let value = Double(text), range.contains(value) else {
      let bounds = "\(Self.plain(range.lowerBound)) to \(Self.plain(range.upperBound))"
      throw fail("--\(name) must be a number from \(bounds), not '\(text)'")
    }
    return value
  }

  /// Without a fraction where there is none.
  private static func plain(_ number: Double) -> String {
    number == number.rounded() ? "\(Int(number))" : "\(number)"
  }

  func choice(_ name: String, _ choices: [String]) throws(UsageError) -> String? {
    guard let text = last(name) else { return nil }
    guard choices.contains(text) else {
      throw fail("--\(name) must be \(choices.joined(separator: " or ")), not '\(text)'")
    }
    return text
  }

  func size(
    _ name: String, in sides: ClosedRange<Int> = PictureSize.range, multipleOf step: Int = PictureSize.step
  ) throws(UsageError) -> PictureSize? {
    guard let text = last(name) else { return nil }
    do {
      return try PictureSize(text, in: sides, multipleOf: step)
    } catch {
      throw fail("--\(name) \(error.reason)")
    }
  }

  /// `--fit`, which fills the picture where it is not given.
  func fit() throws(UsageError) -> Fit {
    try choice("fit", Fit.allCases.map(\.rawValue)).flatMap(Fit.init) ?? .cover
  }

  /// Refuses operands beyond `count`, and fewer.
  func expectOperands(_ names: [String]) throws(UsageError) {
    guard operands.count >= names.count else {
      throw fail("\(names[operands.count]) is missing")
    }
    guard operands.count == names.count else {
      throw fail("unexpected argument '\(operands[names.count])'")
    }
  }
}
