import Frames

/// What all outputs may need to know.
public struct SinkOptions: Sendable {
  /// Every HTTP request has to bring it; needed for addresses other than this machine's.
  public var token: String?
  public var control: (any Control)?
  public var statistics: Statistics?
  /// Frames a second of a virtual camera.
  public var fps = 30
  /// Size of a virtual camera, and how a picture of another shape is brought there.
  public var width = 1280
  public var height = 720
  public var fit = Fit.contain
  /// Of JPEGs, 1 to 100.
  public var quality = 85
  /// `.every` where a file is turned into a file and no frame may be lost.
  public var policy = Mailbox.Policy.newest

  public init() {}
}
