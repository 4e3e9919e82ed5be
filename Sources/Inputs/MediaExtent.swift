import CAV

/// How much of a film came, against what it says that it has.
///
/// Neither number nor time tells by itself: an AVI counts places that it has no picture for, and the length
/// of a film that was cut off may be reckoned from what is left.
struct MediaExtent {
  /// What the film says, 0 where it does not.
  let frames: Int
  /// Packets that came. What an edit list leaves out is among them: it comes, too, and is not shown.
  private(set) var packets = 0
  /// How long the film says it is, and the end of the last packet: nanoseconds from the start.
  private let length: Int64
  private var end: Int64 = 0

  /// Stamps and lengths are rounded.
  private static let rounding: Int64 = 100_000_000

  init(_ stream: UnsafeMutablePointer<AVStream>) {
    frames = Int(stream.pointee.nb_frames)
    let duration = stream.pointee.duration
    let said =
      duration == turbocam_av_nopts_value ? 0 : av_rescale_q(duration, stream.pointee.time_base, .nanosecond)
    let rate = stream.pointee.avg_frame_rate
    let counted =
      rate.num > 0 && rate.den > 0
      ? av_rescale_q(stream.pointee.nb_frames, AVRational(num: rate.den, den: rate.num), .nanosecond) : 0
    length = max(0, said, counted)
  }

  /// Counts a packet. Times in nanoseconds, nil where they are not known.
  mutating func add(time: Int64?, duration: Int64) {
    packets += 1
    guard let time else { return }
    let (end, isBeyond) = time.addingReportingOverflow(max(0, duration))
    if !isBeyond { self.end = max(self.end, end) }
  }

  /// From the start again.
  mutating func restart() { (packets, end) = (0, 0) }

  /// Whether less came than the film says, at its end.
  var isShort: Bool { packets < frames && end < length - MediaExtent.rounding }
}

extension AVRational {
  static var nanosecond: AVRational { AVRational(num: 1, den: 1_000_000_000) }
}
