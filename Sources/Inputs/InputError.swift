import Glibc

/// Why an input cannot give frames: what was tried, what was found, and what to do.
public struct InputError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Kind: Equatable, Sendable {
    /// The spec itself makes no sense.
    case usage
    /// The path or address is not there.
    case missing
    /// It is there and is not what it should be: not a camera, not a picture.
    case wrongKind
    /// Somebody else has it, or it does not answer.
    case unavailable
    case denied
    /// A call failed that should not.
    case failed
  }
  public let kind: Kind
  /// What was tried: "opening camera /dev/video0".
  public let attempt: String
  /// The library's or the kernel's words.
  public let fact: String
  public let remedy: String

  public init(_ kind: Kind, _ attempt: String, _ fact: String, remedy: String) {
    self.kind = kind
    self.attempt = attempt
    self.fact = fact
    self.remedy = remedy
  }

  /// From `sysexits.h`.
  public var exitCode: Int32 {
    switch kind {
    case .usage: return EX_USAGE
    case .missing: return EX_NOINPUT
    case .wrongKind: return EX_DATAERR
    case .unavailable: return EX_UNAVAILABLE
    case .denied: return EX_NOPERM
    case .failed: return EX_IOERR
    }
  }
  public var description: String { "\(attempt): \(fact)" + (remedy.isEmpty ? "" : "; \(remedy)") }
}
