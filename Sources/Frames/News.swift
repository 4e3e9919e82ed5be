/// The last thing that a person was told, for as long as it is news.
public struct News: Sendable {
  /// Nanoseconds.
  private static let age: UInt64 = 60_000_000_000
  private var text: String?
  private var told: UInt64 = 0

  public init() {}

  public mutating func tell(_ text: String, now: UInt64 = Clock.now()) { (self.text, told) = (text, now) }

  /// It is no longer so, where it was the last thing told.
  public mutating func takeBack(_ text: String) { if self.text == text { self.text = nil } }

  /// nil where nothing was said lately.
  public func current(now: UInt64 = Clock.now()) -> String? { now - told < News.age ? text : nil }
}
