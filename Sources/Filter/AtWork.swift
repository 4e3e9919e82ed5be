import Frames

/// A painter and what is made for its pictures and settings: all of it is there, or nothing.
struct AtWork {
  let painter: any Painter
  /// What `painter` paints by.
  let settings: Settings
  let converter: PictureConverter
  /// nil where noise is not averaged away.
  let steadier: Steadier?
  /// nil where every picture is painted.
  let detector: ChangeDetector?
  let canvas: Canvas
  let pool: FramePool

  /// Keeps of `before` what fits still: pictures that are remembered, and buffers. `outputs`: whose pictures these
  /// are; `takesEvery`: none of them is like the one before.
  init(
    _ painter: any Painter, _ settings: Settings, after before: AtWork?, outputs: Int, takesEvery: Bool
  ) throws {
    let size = painter.shape.size
    let format = PictureFormat(.rgb24, width: size.width, height: size.height)
    (self.painter, self.settings) = (painter, settings)
    converter = try Self.converter(to: format, settings, before?.converter)
    // What was remembered lay elsewhere in the picture.
    let kept = converter === before?.converter ? before?.steadier : nil
    steadier =
      settings.steady > 0 ? kept ?? Steadier(width: format.width, height: format.height) : nil
    // By other settings every picture is another.
    detector =
      settings.still > 0 && !takesEvery ? ChangeDetector(width: format.width, height: format.height) : nil
    let canvas = Canvas(size, comparesInput: settings.compare)
    self.canvas = canvas
    let buffers = before.flatMap { $0.pool.capacity == canvas.byteCount ? $0.pool : nil }
    pool =
      buffers
      ?? FramePool(count: FramePool.count(outputs) + painter.depth - 1, capacity: canvas.byteCount)
  }

  private static func converter(
    to format: PictureFormat, _ settings: Settings, _ before: PictureConverter?
  ) throws -> PictureConverter {
    if let before, before.target == format, before.fit == settings.fit, before.isMirrored == settings.mirror {
      return before
    }
    return try PictureConverter(to: format, fit: settings.fit, mirror: settings.mirror)
  }
}
