import CAV

/// Tells where the time stamps of a film jump: one rule for pictures and sound keeps them together.
///
/// Films that were joined end to end begin again with small stamps, a clock may wrap, and a stamp may be
/// nonsense. All times are nanoseconds.
public struct StampJumps: Sendable {
  /// Back by less is a stamp that was rounded or out of order.
  private static let jitter: Int64 = 100_000_000
  /// Ahead by more is a jump.
  private let longest: Int64

  public init(longest: Int64) { self.longest = longest }

  /// `mayJump`: the container takes the sender's clock as it is, as broadcasts do; there nobody wants to wait
  /// for a picture that is a minute ahead. In others slides and recorded screens may stand still for hours;
  /// not for more than six, since no .mp4 could say so.
  public init(mayJump: Bool) { longest = (mayJump ? 60 : 6 * 3600) * 1_000_000_000 }

  /// By libav's `AVInputFormat.flags`.
  public init(formatFlags: Int32) { self.init(mayJump: formatFlags & AVFMT_TS_DISCONT != 0) }

  /// Whether what comes at `next` after what came at `last` is not where it belongs.
  public func isJump(from last: Int64, to next: Int64) -> Bool {
    let (step, isBeyond) = next.subtractingReportingOverflow(last)
    return isBeyond || step < -StampJumps.jitter || step > longest
  }
}
