/// Something prepared that puts work into the stream without allocating.
protocol Runnable: AnyObject {
  func run() throws
  /// What runs it, for profiles.
  var label: String { get }
}

/// Launches one after the other.
final class SequenceWork: Runnable {
  private let works: [any Runnable]
  init(_ works: [any Runnable]) { self.works = works }
  func run() throws { for work in works { try work.run() } }
  var label: String { works.map(\.label).joined(separator: " + ") }
}
