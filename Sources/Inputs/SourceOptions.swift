import Frames

/// What the rest of the program wants of an input.
public struct SourceOptions: Equatable, Sendable {
  /// Plays a file again when it has ended.
  public var loop: Bool
  /// Frames a second, nil: as the source has it, else 30.
  public var fps: Double?
  /// The size that frames will be used at, nil: any. A hint to cameras, the size of the test pattern.
  public var width: Int?
  public var height: Int?
  /// A file plays at its own speed; else as fast as the mailbox takes frames, and none is dropped.
  public var realTime: Bool
  /// JPEGs will be passed on as they are.
  public var wantsJPEG: Bool
  /// Frames that may be out at once: in mailboxes, in work and at outputs.
  public var buffers: Int
  /// Virtual cameras that are written to: `camera` never means one of them.
  public var avoiding: Set<FileIdentity>

  public init(
    loop: Bool = false, fps: Double? = nil, width: Int? = nil, height: Int? = nil, realTime: Bool = true,
    wantsJPEG: Bool = false, buffers: Int = 12, avoiding: Set<FileIdentity> = []
  ) {
    self.loop = loop
    self.fps = fps
    self.width = width
    self.height = height
    self.realTime = realTime
    self.wantsJPEG = wantsJPEG
    self.buffers = buffers
    self.avoiding = avoiding
  }

  static let usualRate = 30.0
  /// Rates that times can be reckoned with.
  static let rates = 0.01...1000.0

  /// Nanoseconds between two frames.
  static func interval(_ rate: Double) -> UInt64 { UInt64(1e9 / rate) }

  func checkRate(_ attempt: String) throws {
    guard let fps, !SourceOptions.rates.contains(fps) else { return }
    throw InputError(
      .usage, attempt, "\(fps) frames a second",
      remedy: "rates are \(SourceOptions.rates.lowerBound) to \(SourceOptions.rates.upperBound)")
  }
}
