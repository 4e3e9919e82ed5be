import Frames
import Glibc

/// A picture file, a video file or a network stream.
///
/// A file is opened at once, so that a wrong one is refused before work starts. An address is called in `run`
/// and called again whenever the stream breaks.
public final class Media: Input, @unchecked Sendable {
  public let label: String
  private let place: MediaPlace
  private let options: SourceOptions
  // The rest belongs to the thread that made the input and then to the one in `run`.
  private var reader: MediaReader?
  private let picture: MediaPicture
  private var pool: FramePool?
  private var watch: JPEGWatch
  private let jpegDecoder: JPEGDecoder
  private var pacer = Pacer()
  /// What people were told of the film last.
  private var warned: String?
  private var sequence: UInt64 = 0
  private var limit: RateLimit
  private let started = Clock.now()

  private static let retryPause: UInt64 = 1_000_000_000
  private static let restAfter: UInt64 = 3_000_000_000
  /// Segments that were left out make a longer gap, which is not waited through.
  private static let gaps = StampJumps(longest: 2_000_000_000)

  /// Throws `InputError` where `place` is a file that cannot be read or is neither picture nor video.
  init(_ place: MediaPlace, options: SourceOptions) throws {
    self.place = place
    label = place.description
    self.options = options
    watch = try JPEGWatch()
    jpegDecoder = try JPEGDecoder()
    if let width = options.width, let height = options.height {
      picture = MediaPicture(wanted: (width, height))
    } else {
      picture = MediaPicture()
    }
    limit = RateLimit(options.fps)
    try options.checkRate("opening \(place)")
    if !place.isNetwork {
      try place.checkFile()
      reader = try MediaReader(place, stop: StopFlag())
    }
  }

  public func run(_ link: InputLink) throws {
    defer { reader = nil }
    if place.isNetwork { return runStream(link) }
    guard let reader else { return }
    if reader.isStill {
      try runStill(reader, link)
    } else {
      try runFile(reader, link)
    }
    link.status.set(.ended)
  }

  // MARK: - Pictures

  /// Gives the picture again and again; just once where nothing is lost and nothing repeats.
  private func runStill(_ reader: MediaReader, _ link: InputLink) throws {
    let still = try PictureFile.decode(reader, picture)
    link.status.set(.live)
    let rate = options.fps ?? SourceOptions.usualRate
    link.status.interval.store(SourceOptions.interval(rate), ordering: .relaxed)
    while !link.stop.isSet, !link.mailbox.isClosed {
      if options.realTime { pacer.wait(for: UInt64(Double(sequence) * 1e9 / rate), link.stop) }
      if link.mailbox.isWanted || !options.realTime {
        give(still, link)
      } else {
        sequence += 1
      }
      if !options.realTime && !options.loop { return }
    }
  }

  private func give(_ still: RGBPicture, _ link: InputLink) {
    let count = still.bytes.count
    guard let draft = pool(count).takeWaiting(!options.realTime, link) else { return }
    still.bytes.withUnsafeBytes { draft.bytes.copyMemory(from: $0) }
    let format = PictureFormat(.rgb24, width: still.width, height: still.height)
    put(draft, format, count, Moment(captured: Clock.now()), link)
  }

  // MARK: - Files

  private func runFile(_ first: MediaReader, _ link: InputLink) throws {
    var reader = first
    link.status.set(.live)
    while !isOver(link) {
      let tally = try playThrough(reader, link)
      guard !isOver(link) else { return }
      guard tally.good > 0 else {
        throw InputError(
          .wrongKind, "reading \(place)", "not one picture in it can be decoded",
          remedy: "try ffprobe on it, or convert it with ffmpeg")
      }
      warn(reader, tally, link)
      guard options.loop else { return }
      // The last picture has its time, too.
      if options.realTime { pacer.wait(for: tally.end, link.stop) }
      if !reader.rewind() { reader = try MediaReader(place, stop: link.stop) }
      pacer.restart()
      limit.restart()
    }
  }

  /// Pictures of a film.
  private struct Tally {
    var good = 0
    /// JPEGs that are not whole, and what could not be converted.
    var broken = 0
    /// Of the last one that was due, in nanoseconds.
    var end: UInt64 = 0
  }

  /// The time of a picture.
  private struct Moment {
    var captured: UInt64
    /// In the film, nil where it is live.
    var film: UInt64?
  }

  /// From where the reader is to the end.
  private func playThrough(_ reader: MediaReader, _ link: InputLink) throws -> Tally {
    var tally = Tally()
    var timeline = Timeline(interval: Self.interval(reader), reader.jumps)
    var lastDue: UInt64 = 0
    while !isOver(link) {
      let time: Int64?
      var isJPEG = false
      switch try reader.step() {
      case .nothing: continue
      case .end: return tally
      case .picture(let stamp): time = stamp
      case .jpeg(let stamp):
        time = stamp
        isJPEG = true
      }
      let due = timeline.place(time)
      guard limit.isDue(due) else { continue }
      link.status.interval.store(due - lastDue, ordering: .relaxed)
      lastDue = due
      tally.end = due + Self.interval(reader)
      if options.realTime {
        pacer.wait(for: due, link.stop)
        if !link.mailbox.isWanted { pause(link) }
      }
      if isOver(link) { return tally }
      // A picture of a film is captured when it is shown, however early it was decoded; where nobody watches
      // a clock, by the film's own time, so that a copy runs as long as the film.
      let moment = Moment(captured: options.realTime ? Clock.now() : started + due, film: due)
      if try isJPEG ? putJPEG(reader, moment, link) : putPicture(reader, moment, link) {
        tally.good += 1
      } else {
        tally.broken += 1
      }
    }
    return tally
  }

  /// Nanoseconds between two pictures where their stamps do not say.
  private static func interval(_ reader: MediaReader) -> UInt64 {
    SourceOptions.interval(SourceOptions.rates.contains(reader.rate) ? reader.rate : SourceOptions.usualRate)
  }

  /// Stands still while nobody watches.
  private func pause(_ link: InputLink) {
    let start = Clock.now()
    while !link.mailbox.isWanted, !isOver(link) {
      usleep(20_000)
      // A blink of nobody is no pause: the film goes on in its time.
      if Clock.now() - start > Media.restAfter { pacer.restart() }
    }
  }

  private func warn(_ reader: MediaReader, _ tally: Tally, _ link: InputLink) {
    let (extent, damaged) = (reader.extent, reader.damaged + tally.broken)
    let fact =
      extent.isShort
      ? "ends too early: \(extent.packets) of \(extent.frames) pictures are there"
      : damaged > 0 ? "is damaged in \(damaged) places" : nil
    // Once, of a film that is repeated for days.
    guard let fact, fact != warned else { return }
    warned = fact
    link.status.warn("\(place) \(fact); it may be cut off")
  }

  // MARK: - Network streams

  /// Plays until the program stops, calling again after each break; a film on a server ends as a file does.
  /// Network cameras have an address that gives one picture a call: there, calling again is no break.
  private func runStream(_ link: InputLink) {
    var (hasPlayed, isSnapshot) = (false, false)
    while !isOver(link) {
      do {
        if !isSnapshot {
          link.status.set(hasPlayed ? .waiting("calling \(place) again") : .starting("calling \(place)"))
        }
        let reader = try MediaReader(place, stop: link.stop)
        if hasPlayed, !isSnapshot { link.counters.reconnects.add(1, ordering: .relaxed) }
        (hasPlayed, isSnapshot) = (true, reader.isStill)
        if isSnapshot {
          try giveSnapshot(reader, link)
        } else {
          try playStream(reader, link)
          if !reader.isLive, !isOver(link) { break }
          link.status.set(.waiting("\(place) ended, waiting"))
        }
      } catch {
        isSnapshot = false
        let fact = (error as? InputError)?.fact ?? "\(error)"
        link.status.set(.waiting("\(place): \(fact), waiting"))
      }
      Pacer.sleep(until: Clock.now() + (isSnapshot ? snapshotInterval : Media.retryPause), link.stop)
      if isSnapshot, options.realTime { pause(link) }
    }
    link.status.set(.ended)
  }

  private var snapshotInterval: UInt64 { max(1_000_000_000, options.fps.map(SourceOptions.interval) ?? 0) }

  private func giveSnapshot(_ reader: MediaReader, _ link: InputLink) throws {
    let still = try PictureFile.decode(reader, picture)
    link.status.interval.store(snapshotInterval, ordering: .relaxed)
    link.status.set(.live)
    give(still, link)
  }

  private func playStream(_ reader: MediaReader, _ link: InputLink) throws {
    pacer.restart()
    limit.restart()
    link.status.interval.store(options.fps.map(SourceOptions.interval) ?? 0, ordering: .relaxed)
    link.status.set(.live)
    if reader.isLive { try playLive(reader, link) } else { try runFile(reader, link) }
  }

  /// Gives what comes as it comes; where it comes in segments, by their own time, since each is a burst. One
  /// that is late moves the time on, so that those after it have been fetched before they are due.
  private func playLive(_ reader: MediaReader, _ link: InputLink) throws {
    var lastWanted = Clock.now()
    var isSkipping = false
    var timeline = Timeline(interval: Self.interval(reader), Self.gaps)
    while !isOver(link) {
      let now = Clock.now()
      if link.mailbox.isWanted {
        lastWanted = now
        if isSkipping {
          reader.flush()
          pacer.restart()
          timeline = Timeline(interval: Self.interval(reader), Self.gaps)
        }
        isSkipping = false
      } else if now - lastWanted > Media.restAfter {
        // The sender goes on sending; what nobody sees need not be decoded.
        isSkipping = true
      }
      let step = try reader.step(decoding: !isSkipping)
      if reader.isSegmented, options.realTime, let time = step.time {
        pacer.wait(for: timeline.place(time), link.stop)
      }
      // By its arrival: the sender's clock may jump, or not be told.
      let arrival = Moment(captured: Clock.now())
      switch step {
      case .nothing: continue
      case .end: return
      case .picture: if limit.isDue(arrival.captured) { try putPicture(reader, arrival, link) }
      case .jpeg: if limit.isDue(arrival.captured) { putJPEG(reader, arrival, link) }
      }
    }
  }

  // MARK: - Frames

  /// False where it cannot be converted.
  @discardableResult
  private func putPicture(_ reader: MediaReader, _ moment: Moment, _ link: InputLink) throws -> Bool {
    try picture.prepare(reader)
    let byteCount = picture.byteCount
    guard let draft = pool(byteCount).takeWaiting(!options.realTime, link) else { return true }
    guard picture.write(reader.frame, into: draft.bytes) else {
      link.counters.corrupt.add(1, ordering: .relaxed)
      return false
    }
    put(draft, picture.format, byteCount, moment, link)
    return true
  }

  /// False where it is damaged.
  @discardableResult
  private func putJPEG(_ reader: MediaReader, _ moment: Moment, _ link: InputLink) -> Bool {
    let jpeg = reader.packetBytes.trimmedJPEG
    guard watch.accepts(jpeg), let info = try? jpegDecoder.info(jpeg) else {
      link.counters.corrupt.add(1, ordering: .relaxed)
      return false
    }
    // Lengths vary: room for half as much again, so that the pool is made anew only rarely.
    let need = jpeg.count + JPEGTables.addedByteCount
    let pool = pool.map { $0.capacity >= need } == true ? pool! : self.pool(need + need / 2)
    guard let draft = pool.takeWaiting(!options.realTime, link),
      let count = JPEGTables.complete(jpeg, into: draft.bytes)
    else { return true }
    put(draft, PictureFormat(.jpeg, width: info.width, height: info.height), count, moment, link)
    return true
  }

  private func put(
    _ draft: consuming Draft, _ format: PictureFormat, _ byteCount: Int, _ moment: Moment, _ link: InputLink
  ) {
    draft.stamps[.captured] = moment.captured
    draft.stamps.filmTime = moment.film
    draft.stamps.pass(.received)
    sequence += 1
    link.counters.framesIn.add(1, ordering: .relaxed)
    link.mailbox.put(draft.finish(format, byteCount: byteCount, sequence: sequence))
  }

  /// The pool, made anew where its buffers are too small.
  private func pool(_ capacity: Int) -> FramePool {
    if let pool, pool.capacity >= capacity { return pool }
    let fresh = FramePool(count: options.buffers, capacity: capacity)
    pool = fresh
    return fresh
  }

  private func isOver(_ link: InputLink) -> Bool { link.stop.isSet || link.mailbox.isClosed }
}
