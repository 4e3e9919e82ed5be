import Base
import CSystem
import Glibc
import Outputs

/// Words for people: messages on standard error, a status line that rewrites itself.
enum Terminal {
  static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }

  /// A line of what was asked for, on standard output. A reader that went away is no failure.
  static func print(_ text: String) throws {
    guard let number = write(text + "\n", to: STDOUT_FILENO), number != EPIPE else { return }
    throw OutputError(.io, "writing standard output", systemFact("write", number))
  }
  /// An error.
  static func complain(_ message: String) { write("turbocam: \(message)\n") }
  /// Something worth knowing.
  static func say(_ message: String) { write("\(message)\n") }

  /// Replaces the line the cursor is on. A log has none.
  static func status(_ line: String) {
    if isInteractive { write("\r\u{1B}[K" + line.prefix(columns - 1)) }
  }
  static func clearStatus() { status("") }

  /// "loading model ████████░░░░ 43%"
  static func bar(_ text: String, _ fraction: Double) -> String {
    let cells = 24
    let full = Int((min(max(fraction, 0), 1) * Double(cells)).rounded())
    return text + " " + String(repeating: "█", count: full) + String(repeating: "░", count: cells - full)
      + " \(Int(fraction * 100))%"
  }

  private static var columns: Int {
    let columns = Int(turbocam_terminal_columns(STDERR_FILENO))
    return columns > 1 ? columns : 80
  }

  /// Whether standard output takes a few kilobytes without waiting for its reader.
  static var isReady: Bool {
    var ready = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
    return poll(&ready, 1, 0) > 0
  }

  /// Gives the number of the error, nil where there was none.
  @discardableResult
  private static func write(_ text: String, to descriptor: Int32 = STDERR_FILENO) -> Int32? {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return errno }
      bytes = bytes.dropFirst(count)
    }
    return nil
  }

  /// Ends the process without waiting for threads that are still in a driver or a compilation.
  static func end(with code: Int32) -> Never {
    _exit(code)
  }
}
