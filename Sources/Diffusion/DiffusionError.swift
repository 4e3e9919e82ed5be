/// What went wrong with a model folder, one of its files, or what was asked of a pipeline.
///
/// Says which file, the fact, and what to do about it; the exit codes are those of sysexits.h.
public struct DiffusionError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Kind: Int32, Sendable {
    /// A number or size that was asked for cannot be (EX_USAGE).
    case usage = 64
    /// A file's contents are broken, or not what the configuration says (EX_DATAERR).
    case data = 65
    /// A file or folder is not there (EX_NOINPUT).
    case noInput = 66
    /// A class, scheduler or option that this program does not have (EX_UNAVAILABLE).
    case unavailable = 69
    /// A file or folder cannot be made (EX_CANTCREAT).
    case cannotCreate = 73
    /// The system refused to read or to write a file (EX_IOERR).
    case io = 74
    /// A configuration lacks a key or holds a value that cannot be (EX_CONFIG).
    case configuration = 78
  }

  public let kind: Kind
  /// The file or folder in question, if there is one.
  public let path: String?
  public let fact: String
  /// What to do next, where that is known.
  public let remedy: String?

  public init(_ kind: Kind, path: String? = nil, _ fact: String, remedy: String? = nil) {
    self.kind = kind
    self.path = path
    self.fact = fact
    self.remedy = remedy
  }

  public var exitCode: Int32 { kind.rawValue }

  public var description: String {
    let subject = path.map { "\($0): " } ?? ""
    let advice = remedy.map { "\n\($0)" } ?? ""
    return subject + fact + advice
  }
}
