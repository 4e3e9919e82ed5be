import CV4L2
import Frames

/// Watches whether a camera keeps the rate that its driver agreed to: where it is dark, many expose for longer than a
/// frame takes.
public struct RateWatch: Sendable {
  /// Nanoseconds over which the rate is taken.
  private static let window: UInt64 = 5_000_000_000
  /// A longer silence is another trouble, which is told of by itself.
  private static let silence: UInt64 = 1_000_000_000
  /// Of the rate, below which it is told.
  private static let share = 0.7
  /// Of fewer pictures in a window nothing can be said.
  private static let fewest = 10.0

  private let rate: Double?
  private var start: UInt64?
  private var last: UInt64 = 0
  private var count = 0
  private var hasTold = false

  /// `rate`: frames a second that are to come, nil where nobody knows.
  public init(_ rate: Double?) {
    let seconds = Double(RateWatch.window) / 1e9
    self.rate = rate.flatMap { $0 * seconds >= RateWatch.fewest ? $0 : nil }
  }

  /// The camera starts anew.
  public mutating func restart() { start = nil }

  /// `made`: pictures that the camera made since the last call, also those that were lost on their way. `now`: of
  /// CLOCK_MONOTONIC in nanoseconds. Gives the frames a second that came, once, where they are far too few.
  public mutating func passed(_ made: Int, now: UInt64) -> Double? {
    guard let rate, !hasTold else { return nil }
    guard let start, now >= last, now - last < RateWatch.silence else {
      begin(now)
      return nil
    }
    last = now
    count += made
    guard now - start >= RateWatch.window else { return nil }
    let measured = Double(count) * 1e9 / Double(now - start)
    begin(now)
    guard measured < RateWatch.share * rate else { return nil }
    hasTold = true
    return measured
  }

  private mutating func begin(_ now: UInt64) {
    start = now
    last = now
    count = 0
  }
}

extension CaptureStream {
  /// `wanted`: what --fps asks for. A virtual camera's rate is what its writer says and need not keep.
  func rateWatch(wanted: Double?) -> RateWatch {
    if device.capability.isLoopback { return RateWatch(nil) }
    return RateWatch(mode.rate.map { min($0, wanted ?? $0) })
  }

  /// What to say where the driver agreed to less than it was asked for.
  func rateNotice(wanted: Double?) -> String? {
    if device.capability.isLoopback { return nil }
    return mode.rateNotice(path: device.path, asked: wanted ?? askedRate)
  }

  /// What to say where so many frames a second come, far fewer than were agreed to.
  func slownessNotice(_ measured: Double) -> String {
    var control = v4l2_control(id: turbocam_exposure_dynamic_framerate, value: 0)
    let isByLight = device.call(turbocam_VIDIOC_G_CTRL, &control) == 0 && control.value != 0
    return "camera \(device.path) gives \(CaptureMode.text(measured.rounded())) frames a second of "
      + "\(CaptureMode.text(mode.rate ?? 0)): "
      + (isByLight
        ? "in the dark it exposes for longer; more light helps, or "
          + "v4l2-ctl -d \(device.path) -c exposure_dynamic_framerate=0"
        : "more light may help")
  }
}

extension CaptureMode {
  /// What to say where `asked` frames a second were asked for, and a camera agreed to fewer; else nil.
  public func rateNotice(path: String, asked: Double) -> String? {
    // A camera's "30" may be 29.97.
    guard let rate, rate < asked * 0.95 else { return nil }
    return "camera \(path) gives \(CaptureMode.text(rate)) frames a second at \(width)x\(height), not the "
      + "\(CaptureMode.text(asked)) that were asked for; turbocam devices lists what it can"
  }
}
