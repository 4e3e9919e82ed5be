import Engine
import Frames

/// Repaints pictures of one size with one number of steps. For one thread at a time.
public protocol Painter: AnyObject {
  var shape: PainterShape { get }
  /// Takes over what may change without a new painter; gives warnings for people (a prompt that was cut).
  func apply(_ settings: Settings) throws -> [String]
  /// The picture to repaint, rgb24 [H, W, 3], to be filled in place.
  func withImage(_ body: (UnsafeMutableRawBufferPointer) throws -> Void) throws
  /// Repaints. Allocates nothing.
  func run() throws
  /// How many pictures may be under way: more than 1 where one can be begun before the last is finished.
  var depth: Int { get }
  /// `run` in two: begins the picture that the image is now; `finish` waits for the oldest one begun.
  func start() throws
  func finish() throws
  /// The repainted picture, rgb24 [H, W, 3], until the next `run`, `start` or `finish`.
  func withPicture(_ body: (UnsafeRawBufferPointer) throws -> Void) throws
}

extension Painter {
  public var depth: Int { 1 }
  public func start() throws {}
  public func finish() throws { try run() }
}

/// What a painter is made for; another shape needs another painter.
public struct PainterShape: Hashable, Sendable {
  public var size: PictureSize
  public var steps: Int
  public init(size: PictureSize, steps: Int) { (self.size, self.steps) = (size, steps) }
}

extension Settings {
  public var shape: PainterShape { PainterShape(size: size, steps: steps) }
}

/// Makes painters, on a thread of their own and for as long as it takes.
public protocol PainterMaker: Sendable {
  func make(_ shape: PainterShape, progress: (String, Double) -> Void) throws -> any Painter
}
