/// How often a value can change.
///
/// A value's cadence is the fastest of its inputs', so a graph written once falls apart in three
/// programs: what runs when a model is opened, when a setting changes, and for every frame.
public enum Cadence: Int, Comparable, Hashable, Sendable {
  /// Once, when a model is opened: weights and what is computed from weights alone.
  case load
  /// When a setting changes: prompt, strength, seed.
  case settings
  /// Every frame.
  case frame

  public static func < (a: Cadence, b: Cadence) -> Bool { a.rawValue < b.rawValue }
}
