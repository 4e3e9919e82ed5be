import CAV
import Frames
import Glibc
import Synchronization

/// The video stream of a file or an address, demuxed and decoded by libav. Used by one thread.
final class MediaReader {
  /// What one call of `step` brought.
  enum Step {
    /// `frame` holds a picture of `time`, nanoseconds from the start by the stream's own clock, which may
    /// jump; nil where it does not say.
    case picture(time: Int64?)
    /// `packetBytes` hold a JPEG.
    case jpeg(time: Int64?)
    case nothing
    case end

    var time: Int64? {
      switch self {
      case .picture(let time), .jpeg(let time): time
      case .nothing, .end: nil
      }
    }
  }

  let place: MediaPlace
  /// Comes as it happens: cannot be paced, and what is not fetched is lost.
  let isLive: Bool
  /// Live and sent in pieces of some seconds each (HLS, DASH), which come at once.
  let isSegmented: Bool
  /// One picture.
  let isStill: Bool
  /// Packets are JPEGs, which go on undecoded: they show as they are.
  let givesJPEG: Bool
  /// Frames a second, 0 where unknown.
  let rate: Double
  /// Where its stamps jump.
  let jumps: StampJumps
  let frame: UnsafeMutablePointer<AVFrame>
  /// How much of it came.
  private(set) var extent: MediaExtent
  /// Packets or pictures that came damaged; JPEGs that are not decoded here are not looked at.
  private(set) var damaged = 0

  private var input: UnsafeMutablePointer<AVFormatContext>?
  private var decoder: UnsafeMutablePointer<AVCodecContext>?
  private let packet: UnsafeMutablePointer<AVPacket>
  private let stream: UnsafeMutablePointer<AVStream>
  private let interrupt: MediaInterrupt
  private var isDraining = false

  /// Opens `place` and finds its video. Throws `InputError`; ends early when `stop` is set.
  init(_ place: MediaPlace, stop: StopFlag) throws {
    MediaReader.silence()
    self.place = place
    interrupt = MediaInterrupt(stop)
    interrupt.allow(seconds: place.isNetwork ? 10 : 60)
    let input = try MediaReader.open(place, interrupt)
    var owned: UnsafeMutablePointer<AVFormatContext>? = input
    var decoder: UnsafeMutablePointer<AVCodecContext>?
    do {
      let index = try MediaReader.findVideo(input, place)
      stream = input.pointee.streams[Int(index)]!
      let name = String(cString: input.pointee.iformat.pointee.name)
      isStill = name == "image2" || name.hasSuffix("_pipe")
      isLive = place.isNetwork && input.pointee.duration <= 0
      isSegmented = isLive && (name == "hls" || name.hasPrefix("dash"))
      givesJPEG =
        !isStill && stream.pointee.codecpar.pointee.codec_id == AV_CODEC_ID_MJPEG
        && stream.pointee.codecpar.pointee.format != AV_PIX_FMT_NONE.rawValue
        && Orientation(stream.pointee.displayMatrix).isUpright
        && av_guess_sample_aspect_ratio(input, stream, nil).isSquare
      let guessed = av_guess_frame_rate(input, stream, nil)
      rate = guessed.den > 0 ? Double(guessed.num) / Double(guessed.den) : 0
      jumps = StampJumps(formatFlags: input.pointee.iformat.pointee.flags)
      extent = MediaExtent(stream)
      try MediaReader.checkSize(stream, place)
      decoder = try MediaReader.openDecoder(stream, place, isStill: isStill, isLive: isLive)
    } catch {
      avformat_close_input(&owned)
      throw error
    }
    self.input = input
    self.decoder = decoder
    guard let packet = av_packet_alloc(), let frame = av_frame_alloc() else {
      throw InputError(.failed, "opening \(place)", "out of memory", remedy: "")
    }
    self.packet = packet
    self.frame = frame
    for index in 0..<Int(input.pointee.nb_streams) where index != Int(stream.pointee.index) {
      input.pointee.streams[index]!.pointee.discard = AVDISCARD_ALL
    }
  }
  deinit {
    var packet: UnsafeMutablePointer<AVPacket>? = packet
    var frame: UnsafeMutablePointer<AVFrame>? = frame
    av_packet_free(&packet)
    av_frame_free(&frame)
    avcodec_free_context(&decoder)
    avformat_close_input(&input)
  }

  /// The bytes of the packet that `.jpeg` told of, valid until the next step.
  var packetBytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size))
  }

  /// How the stream says that its pictures are to be turned.
  var orientation: Orientation {
    Orientation(stream.pointee.displayMatrix)
  }

  /// The shape of the pixels of `frame`. What picture files say of theirs nobody follows: it is about paper.
  var pixelAspect: AVRational {
    isStill ? AVRational(num: 1, den: 1) : av_guess_sample_aspect_ratio(input, stream, frame)
  }

  /// Reads on until something can be said. With `decoding` false packets are read and thrown away.
  /// Throws `InputError` where a network stream breaks.
  func step(decoding: Bool = true) throws -> Step {
    if let ready = try receive() { return ready }
    if isDraining { return .end }
    interrupt.allow(seconds: patience)
    av_packet_unref(packet)
    let result = av_read_frame(input, packet)
    guard result >= 0 else { return try readFailed(result) }
    guard packet.pointee.stream_index == stream.pointee.index else { return .nothing }
    let (pts, dts) = (packet.pointee.pts, packet.pointee.dts)
    extent.add(
      time: time(pts != turbocam_av_nopts_value ? pts : dts),
      duration: av_rescale_q(packet.pointee.duration, stream.pointee.time_base, .nanosecond))
    guard decoding else { return .nothing }
    if givesJPEG { return .jpeg(time: time(pts)) }
    if packet.pointee.flags & AV_PKT_FLAG_CORRUPT != 0 { damaged += 1 }
    let sent = avcodec_send_packet(decoder, packet)
    if sent < 0 && sent != turbocam_averror_eagain { damaged += 1 }
    return try receive() ?? .nothing
  }

  /// Back to the start; false where the source cannot go back.
  func rewind() -> Bool {
    interrupt.allow(seconds: 60)
    guard av_seek_frame(input, -1, 0, AVSEEK_FLAG_BACKWARD) >= 0 else { return false }
    avcodec_flush_buffers(decoder)
    isDraining = false
    damaged = 0
    extent.restart()
    return true
  }

  /// Forgets half-decoded pictures, after packets were left out.
  func flush() { avcodec_flush_buffers(decoder) }

  /// Seconds without a packet after which a stream is given up. Segments of ten seconds are usual, and where
  /// the connection to a film breaks libav makes it again meanwhile.
  private var patience: UInt64 { !place.isNetwork ? 60 : isSegmented || !isLive && !isStill ? 30 : 5 }

  private func receive() throws -> Step? {
    guard !givesJPEG else { return nil }
    let result = avcodec_receive_frame(decoder, frame)
    if result == turbocam_averror_eagain { return nil }
    if result == turbocam_averror_eof { return .end }
    guard result >= 0 else {
      damaged += 1
      return isDraining ? .end : nil
    }
    if frame.pointee.flags & AV_FRAME_FLAG_CORRUPT != 0 || frame.pointee.decode_error_flags != 0 {
      damaged += 1
    }
    return .picture(time: time(frame.pointee.best_effort_timestamp))
  }

  private func readFailed(_ result: Int32) throws -> Step {
    if result == turbocam_averror_eof || !place.isNetwork {
      if result != turbocam_averror_eof { damaged += 1 }
      guard !givesJPEG, !isDraining else { return .end }
      // The decoder still holds pictures that waited for later ones.
      isDraining = true
      avcodec_send_packet(decoder, nil)
      return try receive() ?? .end
    }
    throw InputError(
      .unavailable, "reading \(place)",
      interrupt.hasExpired ? "nothing came for \(patience) seconds" : libavText(result),
      remedy: "check the network and the sender")
  }

  private func time(_ stamp: Int64) -> Int64? {
    guard stamp != turbocam_av_nopts_value else { return nil }
    let start = stream.pointee.start_time
    let ticks = stamp &- (start == turbocam_av_nopts_value ? 0 : start)
    return av_rescale_q(ticks, stream.pointee.time_base, .nanosecond)
  }
}

// MARK: - Opening

extension MediaReader {
  private static func silence() {
    // Everything worth knowing comes back as an error code; libav's own words would tear the status line.
    av_log_set_level(AV_LOG_QUIET)
  }

  private static func open(
    _ place: MediaPlace, _ interrupt: MediaInterrupt
  ) throws -> UnsafeMutablePointer<AVFormatContext> {
    guard let context = avformat_alloc_context() else {
      throw InputError(.failed, "opening \(place)", "out of memory", remedy: "")
    }
    context.pointee.interrupt_callback = interrupt.callback
    var input: UnsafeMutablePointer<AVFormatContext>? = context
    var options: OpaquePointer?
    defer { av_dict_free(&options) }
    for (key, value) in place.options { av_dict_set(&options, key, value, 0) }
    // Frees the context where it fails.
    let opened = avformat_open_input(&input, place.url, nil, &options)
    guard opened >= 0, let input else { throw openError(place, opened, interrupt) }
    let found = avformat_find_stream_info(input, nil)
    guard found >= 0 else {
      var owned: UnsafeMutablePointer<AVFormatContext>? = input
      avformat_close_input(&owned)
      throw openError(place, found, interrupt)
    }
    return input
  }

  private static func openError(_ place: MediaPlace, _ code: Int32, _ interrupt: MediaInterrupt) -> InputError
  {
    let attempt = "opening \(place)"
    if place.isNetwork {
      return InputError(
        .unavailable, attempt, interrupt.hasExpired ? "no answer" : libavText(code),
        remedy: "check the address and that the sender runs")
    }
    switch -code {
    case ENOENT, ENOTDIR:
      return InputError(.missing, attempt, "there is no such file", remedy: "check the path")
    case EACCES, EPERM:
      return InputError(.denied, attempt, "no permission to read it", remedy: "change its mode or owner")
    default:
      return InputError(
        .wrongKind, attempt, "it is not a picture or video that can be read: \(libavText(code))",
        remedy: "try ffprobe on it, or convert it with ffmpeg")
    }
  }

  private static func findVideo(
    _ input: UnsafeMutablePointer<AVFormatContext>, _ place: MediaPlace
  ) throws -> Int32 {
    let index = av_find_best_stream(input, AVMEDIA_TYPE_VIDEO, -1, -1, nil, 0)
    guard index >= 0 else {
      throw InputError(
        .wrongKind, "opening \(place)", "there is no picture or video in it",
        remedy: "choose a file or stream with video")
    }
    return index
  }

  private static func checkSize(_ stream: UnsafeMutablePointer<AVStream>, _ place: MediaPlace) throws {
    let width = Int(stream.pointee.codecpar.pointee.width)
    let height = Int(stream.pointee.codecpar.pointee.height)
    // A stream that is joined in the middle may tell its size later than libav looks for it. Every picture's
    // is looked at anyway.
    if place.isNetwork, width == 0, height == 0 { return }
    try MediaReader.checkSize(width, height, place)
  }

  static func checkSize(_ width: Int, _ height: Int, _ place: MediaPlace) throws {
    let sides = 1...PictureFormat.maximumSide
    if width == 0 && height == 0 {
      throw InputError(
        .wrongKind, "opening \(place)", "it is damaged: no size could be found",
        remedy: "try ffprobe on it, or convert it with ffmpeg")
    }
    guard sides.contains(width), sides.contains(height), width * height <= PictureFormat.maximumPixels else {
      throw InputError(
        .wrongKind, "opening \(place)", "it has \(width)x\(height) pixels",
        remedy: "make it smaller: at most \(PictureFormat.maximumSide) pixels a side "
          + "and \(PictureFormat.maximumPixels) in all")
    }
  }

  private static func openDecoder(
    _ stream: UnsafeMutablePointer<AVStream>, _ place: MediaPlace, isStill: Bool, isLive: Bool
  ) throws -> UnsafeMutablePointer<AVCodecContext> {
    let attempt = "opening \(place)"
    let parameters = stream.pointee.codecpar!
    guard let codec = avcodec_find_decoder(parameters.pointee.codec_id) else {
      let name = String(cString: avcodec_get_name(parameters.pointee.codec_id))
      throw InputError(
        .wrongKind, attempt, "there is no decoder for \(name)", remedy: "convert it with ffmpeg")
    }
    var context = avcodec_alloc_context3(codec)
    guard let decoder = context, avcodec_parameters_to_context(decoder, parameters) >= 0 else {
      avcodec_free_context(&context)
      throw InputError(.failed, attempt, "out of memory", remedy: "")
    }
    decoder.pointee.pkt_timebase = stream.pointee.time_base
    decoder.pointee.max_pixels = Int64(PictureFormat.maximumPixels)
    decoder.pointee.thread_count = isStill ? 1 : 2
    // A thread a frame would hold a live picture back by a frame for each.
    decoder.pointee.thread_type = isLive ? FF_THREAD_SLICE : FF_THREAD_SLICE | FF_THREAD_FRAME
    // Half a photograph is no photograph; half a video frame is shown. The TIFF decoder would refuse a whole
    // picture for a tag that it does not know.
    if isStill && codec.pointee.id != AV_CODEC_ID_TIFF {
      decoder.pointee.err_recognition = AV_EF_EXPLODE | AV_EF_CRCCHECK
    }
    let opened = avcodec_open2(decoder, codec, nil)
    guard opened >= 0 else {
      avcodec_free_context(&context)
      throw InputError(.wrongKind, attempt, "its decoder refuses: \(libavText(opened))", remedy: "")
    }
    return decoder
  }
}

/// libav's words for an error code.
func libavText(_ code: Int32) -> String {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
    av_strerror(code, buffer.baseAddress, buffer.count)
    return String(cString: buffer.baseAddress!)
  }
}

/// Lets libav's blocking calls end when the program does, or when too much time has passed.
final class MediaInterrupt: Sendable {
  private let stop: StopFlag
  private let deadline = Atomic<UInt64>(.max)

  init(_ stop: StopFlag) { self.stop = stop }

  func allow(seconds: UInt64) {
    deadline.store(Clock.now() + seconds * 1_000_000_000, ordering: .relaxed)
  }
  var hasExpired: Bool { Clock.now() > deadline.load(ordering: .relaxed) }

  /// Must not outlive this object.
  var callback: AVIOInterruptCB {
    AVIOInterruptCB(
      callback: { context in
        let interrupt = Unmanaged<MediaInterrupt>.fromOpaque(context!).takeUnretainedValue()
        return interrupt.stop.isSet || interrupt.hasExpired ? 1 : 0
      }, opaque: Unmanaged.passUnretained(self).toOpaque())
  }
}
