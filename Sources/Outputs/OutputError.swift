import Glibc

/// What an output could not do: what was tried, what came of it, what to do about it.
public struct OutputError: Error, Sendable, CustomStringConvertible {
  /// Exit codes of sysexits.h.
  public enum Code: Int32, Sendable {
    /// EX_USAGE: the sink is not written as one.
    case usage = 64
    /// EX_DATAERR: a picture that cannot be encoded.
    case data = 65
    /// EX_UNAVAILABLE: a port or a device that somebody else has.
    case unavailable = 69
    /// EX_SOFTWARE: a library that does not do what it should.
    case software = 70
    /// EX_OSERR: the system refused.
    case system = 71
    /// EX_CANTCREAT: a file that cannot be written.
    case cannotCreate = 73
    /// EX_IOERR: a write that failed.
    case io = 74
    /// EX_NOPERM: not allowed.
    case permission = 77
  }
  public let code: Code
  /// "opening /dev/video10".
  public let attempt: String
  /// "VIDIOC_S_FMT: Device or resource busy (EBUSY)".
  public let fact: String
  /// "close the program that writes to it"; may be empty.
  public let remedy: String

  public init(_ code: Code, _ attempt: String, _ fact: String, remedy: String = "") {
    self.code = code
    self.attempt = attempt
    self.fact = fact
    self.remedy = remedy
  }
  public var exitCode: Int32 { code.rawValue }
  public var description: String { "\(attempt): \(fact)" + (remedy.isEmpty ? "" : "; \(remedy)") }
}
