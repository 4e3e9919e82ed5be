/// What went wrong with the bytes of a picture.
public struct FrameError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Kind: Equatable, Sendable {
    /// The bytes are not a whole, valid picture.
    case corrupt
    /// A size or layout that cannot be worked with.
    case unsupported
    /// A buffer smaller than what it should hold.
    case tooSmall
    /// The library refused for want of memory or for a reason of its own.
    case library
  }
  public let kind: Kind
  /// What was tried: "decoding a JPEG".
  public let attempt: String
  /// What was found: the library's words, or both sizes.
  public let fact: String
  /// What to do about it, empty where the caller knows better.
  public let remedy: String

  public init(_ kind: Kind, _ attempt: String, _ fact: String, remedy: String = "") {
    self.kind = kind
    self.attempt = attempt
    self.fact = fact
    self.remedy = remedy
  }
  public var description: String { "\(attempt): \(fact)" + (remedy.isEmpty ? "" : "; \(remedy)") }
}
