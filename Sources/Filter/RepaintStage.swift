import Engine
import Frames

/// Repaints the newest frame with a model, over and over.
///
/// The model is made in the background while notices are shown. Another size or number of steps makes a
/// second painter beside the running one, then swaps them; all other settings act on the next frame, also meanwhile. A
/// painter whose GPU is lost is made anew, and the first one is waited for where something else holds its memory: the
/// outputs show why there is no picture.
public final class RepaintStage: FilterStage, @unchecked Sendable {
  private let box: SettingsBox
  private let loader: PainterLoader
  private let notices = NoticePublisher()
  /// Whether the age of a live frame counts for more than how many there are.
  private let prefersLatency: Bool
  private let lossPause: UInt64
  private let typingPause: UInt64

  // Touched by the stage's thread only.
  private var atWork: AtWork?
  /// What there is to tell of its settings.
  private var news = SettingsNews()
  /// The generation that is wholly in force.
  private var followed: Int?
  /// Why there is no painter any more, until one works again.
  private var outage: Outage?
  private var painter: (any Painter)? { atWork?.painter }
  /// What the painter has begun and not finished: while frames come faster than it paints, where that raises the rate.
  /// Each is a little older for it.
  private var underWay = UnderWay(capacity: 1)
  /// Nanoseconds that the last picture took that was painted alone.
  private var paintTime: UInt64 = 0
  /// A generation whose shape cannot be made or whose settings were refused: not tried again.
  private var refused: Int?

  /// `lossPause`: nanoseconds from the loss of a painter's GPU, or from want of memory for the first, to the next try.
  /// `typingPause`: for how many settings must stand before people are told what is wrong with them.
  public init(
    _ box: SettingsBox, _ loader: PainterLoader, prefersLatency: Bool = false,
    lossPause: UInt64 = 1_000_000_000, typingPause: UInt64 = 1_000_000_000
  ) {
    self.prefersLatency = prefersLatency
    self.lossPause = lossPause
    self.typingPause = typingPause
    self.box = box
    self.loader = loader
  }

  public func run(_ link: FilterLink) throws {
    while !link.isOver {
      try followSettings(link)
      for warning in news.take(now: Clock.now()) { link.tell(warning) }
      link.mailbox.isWanted = link.broadcast.isWanted
      guard let painter else {
        // A source that failed before there was a model has nothing to wait for.
        if link.mailbox.isClosed && !link.takesEvery { break }
        try awaitPainter(link)
        continue
      }
      let wasClosed = link.mailbox.isClosed
      var frame = link.mailbox.take(timeout: overlapTimeout(link))
      // A frame that was waiting means that the painter is slower than the source: only then may two overlap.
      let isBehind = frame != nil
      if !isBehind {
        try drainReporting(painter, link)
        if self.painter == nil || link.isOver { continue }
        frame = link.mailbox.take(timeout: NoticePublisher.interval)
      }
      guard let frame = frame.take() else {
        if wasClosed { break }
        notices.showAbsence(size: noticeSize, link)
        continue
      }
      guard link.broadcast.isWanted else {
        notices.pictureWasShown()
        continue
      }
      try show(frame, painter, overlaps: link.takesEvery || isBehind && !prefersLatency, link)
    }
  }

  /// How long pictures under way wait for the frame after them. After the time of one painted alone, overlapping cannot
  /// make that frame's picture earlier any more.
  private func overlapTimeout(_ link: FilterLink) -> UInt64 {
    if underWay.isEmpty { return 0 }
    return link.takesEvery ? NoticePublisher.interval : paintTime
  }

  /// Until there is a painter: says how far it is, and lets live frames go.
  private func awaitPainter(_ link: FilterLink) throws {
    if let outage, !outage.isOver {
      link.status.set(.trouble(outage.text))
      notices.show(outage.text, size: noticeSize, link)
      _ = link.mailbox.take(timeout: 50_000_000)
      return
    }
    let progress = loader.progress ?? (text: "loading model", fraction: 0)
    link.status.set(.loading(progress.text, progress.fraction))
    notices.show("\(progress.text) \(Int(progress.fraction * 100))%", size: noticeSize, link)
    if link.takesEvery {
      Clock.sleep(20_000_000)
    } else {
      _ = link.mailbox.take(timeout: 50_000_000)
    }
  }

  /// Of pictures that say why there is no other: as large as those that will come.
  private var noticeSize: PictureSize {
    let settings = atWork?.settings ?? box.current.settings
    return Canvas(settings.size, comparesInput: settings.compare).size
  }

  // MARK: Settings

  private func followSettings(_ link: FilterLink) throws {
    let wanted = box.current
    outage?.note(wanted.generation)
    if let outage, !outage.isOver { return }
    guard wanted.generation != followed, wanted.generation != refused else { return }
    do {
      if let next = try painter(for: wanted.settings.shape) {
        if try adopt(next, wanted.settings, link) { followed = wanted.generation }
      } else if let painter, let now = wanted.settings.with(painter.shape) {
        _ = try adopt(painter, now, link)
      }
    } catch {
      let mayPass = painter == nil && (outage != nil || Self.wantsMemory(error))
      guard Self.endsPainter(error) || mayPass, !link.takesEvery else {
        return try refuse(wanted, error, link)
      }
      try abandonPainter(error, wanted.generation, link)
    }
  }

  /// The painter at work where it has the shape, else a new one once it is made.
  private func painter(for shape: PainterShape) throws -> (any Painter)? {
    guard let painter, painter.shape == shape else { return try loader.painter(shape) }
    loader.forget()
    return painter
  }

  /// Paints with `next` by `settings` from now on. False where what was under way showed that the painter is lost.
  private func adopt(_ next: any Painter, _ settings: Settings, _ link: FilterLink) throws -> Bool {
    if let atWork, atWork.painter === next, atWork.settings == settings { return true }
    if let painter {
      try drainReporting(painter, link)
      if self.painter == nil { return false }
    }
    hear(try next.apply(settings), link)
    let isAnother = painter !== next
    atWork = try AtWork(
      next, settings, after: atWork, outputs: link.broadcast.mailboxes.count, takesEvery: link.takesEvery)
    if isAnother { underWay = UnderWay(capacity: next.depth) }
    link.status.set(.live)
    return true
  }

  /// At the start nobody types, and a film may be over before long.
  private func hear(_ warnings: [String], _ link: FilterLink) {
    let pause = atWork == nil || link.takesEvery ? 0 : typingPause
    for stale in news.hear(warnings, pause: pause, now: Clock.now()) { link.takeBack(stale) }
  }

  /// Settings that cannot be had: with a painter at work the last good ones come back, else the run ends.
  private func refuse(_ wanted: SettingsBox.Versioned, _ error: any Error, _ link: FilterLink) throws {
    guard let applied = atWork?.settings, !link.takesEvery else { throw error }
    link.tell("\(error)")
    refused = wanted.generation
    box.revert(to: applied, since: wanted.generation)
  }

  // MARK: Loss

  /// The painter is of no use any more, or the first cannot be had by now: lets go of it, and has another made after a
  /// pause, by settings of `generation` or later. Throws after many in a row.
  private func abandonPainter(_ error: any Error, _ generation: Int, _ link: FilterLink) throws {
    if outage == nil { link.tell("\(error)") }
    let outage = Outage(
      reason: "\(error)", wantsMemory: Self.wantsMemory(error), generation: generation, after: outage,
      firstPause: lossPause)
    if outage.isHopeless { throw error }
    self.outage = outage
    (atWork, followed) = (nil, nil)
    // One that was made meanwhile has lost its GPU too, and would keep the driver from giving it back.
    loader.forget()
    underWay = UnderWay(capacity: 1)
    link.status.set(.trouble(outage.text))
  }

  private static func endsPainter(_ error: any Error) -> Bool {
    (error as? any BackendError)?.endsPrograms ?? false
  }

  private static func wantsMemory(_ error: any Error) -> Bool {
    (error as? any BackendError)?.wantsMemory ?? false
  }

  // MARK: Frames

  /// Repaints one frame. What goes wrong is shown and counted; only a run that must take every frame ends.
  private func show(
    _ frame: borrowing Frame, _ painter: any Painter, overlaps: Bool, _ link: FilterLink
  ) throws {
    do {
      try repaint(frame, painter, overlaps: overlaps && painter.depth > 1, link)
    } catch {
      try handle(error, painter, link)
    }
  }

  /// Hands out the pictures that are under way, as `show` does with one that is not.
  private func drainReporting(_ painter: any Painter, _ link: FilterLink) throws {
    while let picture = underWay.takeFirst() {
      do {
        try finish(picture, painter, link)
      } catch {
        try handle(error, painter, link)
      }
    }
  }

  /// A picture is out. One that was only begun tells nothing: a GPU may fail at each.
  private func noteSuccess(_ link: FilterLink) {
    outage = nil
    notices.pictureWasShown()
    if link.status.current != .live { link.status.set(.live) }
  }

  private func handle(_ error: any Error, _ painter: any Painter, _ link: FilterLink) throws {
    if let error = error as? FrameError, error.kind == .corrupt {
      link.counters.corrupt.wrappingAdd(1, ordering: .relaxed)
      notices.showAbsence(size: noticeSize, link)
      return
    }
    if link.takesEvery { throw error }
    atWork?.detector?.forget()
    if Self.endsPainter(error) { return try abandonPainter(error, box.current.generation, link) }
    link.status.set(.trouble("\(error)"))
    notices.show("\(error)", size: noticeSize, link)
  }

  private func repaint(
    _ frame: borrowing Frame, _ painter: any Painter, overlaps: Bool, _ link: FilterLink
  ) throws {
    if !overlaps { try drain(painter, link) }
    guard !link.isOver, let atWork else { return }
    guard let draft = atWork.pool.take() else {
      link.counters.starved.wrappingAdd(1, ordering: .relaxed)
      return
    }
    var stamps = frame.stamps
    let (bytes, format, amount) = (frame.bytes, frame.format, atWork.settings.steady)
    let target = draft.bytes
    var isChanged = true
    try painter.withImage { image in
      if let steadier = atWork.steadier {
        try steadier.steady(into: image, amount: amount) {
          try atWork.converter.convert(bytes, format, into: $0)
        }
      } else {
        try atWork.converter.convert(bytes, format, into: image)
      }
      atWork.canvas.drawInput(UnsafeRawBufferPointer(image), on: target)
      isChanged =
        atWork.detector?.isChanged(UnsafeRawBufferPointer(image), by: atWork.settings.still) ?? true
    }
    stamps.pass(.prepared)
    guard isChanged else {
      try drain(painter, link)
      if link.isOver { return }
      link.counters.still.wrappingAdd(1, ordering: .relaxed)
      return try publish(draft, stamps, frame.sequence, painter, link)
    }
    guard overlaps else {
      let start = Clock.now()
      try painter.run()
      paintTime = Clock.now() - start
      return try publish(draft, stamps, frame.sequence, painter, link)
    }
    try painter.start()
    underWay.append(UnderWay.Picture(draft: draft, stamps: stamps, sequence: frame.sequence))
    guard underWay.count == painter.depth, let oldest = underWay.takeFirst() else { return }
    try finish(oldest, painter, link)
  }

  /// Waits for the pictures that are under way.
  private func drain(_ painter: any Painter, _ link: FilterLink) throws {
    while let picture = underWay.takeFirst() { try finish(picture, painter, link) }
  }

  /// Waits for the oldest picture under way, which is this one.
  private func finish(_ picture: consuming UnderWay.Picture, _ painter: any Painter, _ link: FilterLink)
    throws
  {
    try painter.finish()
    let (stamps, sequence) = (picture.stamps, picture.sequence)
    try publish(picture.draft, stamps, sequence, painter, link)
  }

  /// Hands out what the painter has painted.
  private func publish(
    _ draft: consuming Draft, _ stamps: Stamps, _ sequence: UInt64, _ painter: any Painter, _ link: FilterLink
  ) throws {
    guard let canvas = atWork?.canvas else { return }
    var stamps = stamps
    stamps.pass(.repainted)
    let target = draft.bytes
    try painter.withPicture { canvas.drawPainted($0, on: target) }
    draft.stamps = stamps
    link.publish(draft.finish(canvas.format, byteCount: canvas.byteCount, sequence: sequence))
    noteSuccess(link)
  }
}
