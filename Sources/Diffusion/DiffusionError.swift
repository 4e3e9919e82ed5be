/// What went wrong with a model folder, one of its files, or what was asked of a pipeline.
///
/// Says which file, the fact, and what to do about it.
public struct DiffusionError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Kind: Sendable {
    /// A number or size that was asked for cannot be.
    case usage
    /// A file's contents are broken, or not what the configuration says.
    case data
    /// A file or folder is not there.
    case noInput
    /// A class, scheduler or option that this program does not have.
    case unavailable
    /// A file or folder cannot be made.
    case cannotCreate
    /// The system refused to read or to write a file.
    case io
    /// A configuration lacks a key or holds a value that cannot be.
    case configuration
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

  public var description: String {
    let subject = path.map { "\($0): " } ?? ""
    let advice = remedy.map { "\n\($0)" } ?? ""
    return subject + fact + advice
  }
}
