import Synchronization

/// Events worth counting, shown in `/state`.
public final class Counters: Sendable {
  /// Frames an input gave.
  public let framesIn = Atomic<Int>(0)
  /// Frames the filter published.
  public let framesOut = Atomic<Int>(0)
  /// Of them, those that were not painted: they looked like the one before.
  public let still = Atomic<Int>(0)
  /// Frames dropped because no buffer was free.
  public let starved = Atomic<Int>(0)
  /// JPEGs that do not decode, buffers the driver flagged.
  public let corrupt = Atomic<Int>(0)
  /// Frames that a source made and nobody fetched in time: gaps in its numbers.
  public let missed = Atomic<Int>(0)
  /// Times a source was opened again.
  public let reconnects = Atomic<Int>(0)
  /// People who watch the web stream now.
  public let viewers = Atomic<Int>(0)
  public init() {}
}
