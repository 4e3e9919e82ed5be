import CAV
import Frames
import Glibc

/// The sound of the film that is repainted, which goes along packet by packet as it is.
///
/// Its time counts from the first picture that is written, as that of the pictures does; what sounds before
/// it is left out. Where the film's stamps jump it goes on where it was, as the pictures do.
final class SoundTrack {
  private var input: UnsafeMutablePointer<AVFormatContext>?
  private let source: UnsafeMutablePointer<AVStream>
  private let jumps: StampJumps
  private var packet: UnsafeMutablePointer<AVPacket>?
  /// Whether `packet` is one that is still to be written.
  private var isWaiting = false
  /// From a stamp of the film to the time from the first picture, in ticks of the sound.
  private var shift: Int64
  /// The last packet that was kept.
  private var last: (tick: Int64, duration: Int64)?
  private var target: UnsafeMutablePointer<AVStream>?
  /// Whether the film's stamps jumped, so that sound and pictures may be apart from there on.
  private(set) var hasJumped = false

  /// Ticks beyond this are no times, and sums of them would not fit.
  private static let latest = Int64(1) << 60

  /// `filmTime`: of the first picture that is written. nil where the file at `path` has no sound, or cannot
  /// be read: whoever reads its pictures says so.
  init?(path: String, from filmTime: UInt64) {
    guard let input = Self.open(path) else { return nil }
    self.input = input
    let index = av_find_best_stream(input, AVMEDIA_TYPE_AUDIO, -1, -1, nil, 0)
    let pictures = av_find_best_stream(input, AVMEDIA_TYPE_VIDEO, -1, -1, nil, 0)
    guard index >= 0, pictures >= 0, let packet = av_packet_alloc() else {
      var owned: UnsafeMutablePointer<AVFormatContext>? = input
      avformat_close_input(&owned)
      return nil
    }
    self.packet = packet
    let source = input.pointee.streams[Int(index)]!
    self.source = source
    jumps = StampJumps(formatFlags: input.pointee.iformat.pointee.flags)
    // The film's time counts from its first packet with a picture, which need not decode.
    let first = input.pointee.streams[Int(pictures)]!
    let begin = first.pointee.start_time
    let start =
      begin == turbocam_av_nopts_value
      ? 0 : av_rescale_q(begin, first.pointee.time_base, source.pointee.time_base)
    let zero = av_rescale_q(
      Int64(clamping: filmTime), AVRational(num: 1, den: 1_000_000_000), source.pointee.time_base)
    shift = 0 &- start &- zero
    for other in 0..<Int(input.pointee.nb_streams) where other != Int(index) {
      input.pointee.streams[other]!.pointee.discard = AVDISCARD_ALL
    }
  }
  deinit {
    av_packet_free(&packet)
    avformat_close_input(&input)
  }

  /// Makes room for it in a film whose head is not written yet. False where that kind of film cannot hold it.
  func join(_ muxer: UnsafeMutablePointer<AVFormatContext>) -> Bool {
    let parameters = source.pointee.codecpar!
    let isKnown =
      avformat_query_codec(muxer.pointee.oformat, parameters.pointee.codec_id, FF_COMPLIANCE_NORMAL) == 1
    // The head says how to decode it, and is written before the first packet that could.
    let isComplete = parameters.pointee.codec_id != AV_CODEC_ID_AAC || parameters.pointee.extradata_size > 0
    guard isKnown, isComplete, let stream = avformat_new_stream(muxer, nil),
      avcodec_parameters_copy(stream.pointee.codecpar, parameters) >= 0
    else { return false }
    // Another kind of film may have another name for it.
    stream.pointee.codecpar.pointee.codec_tag = 0
    stream.pointee.time_base = source.pointee.time_base
    target = stream
    return true
  }

  /// What the film calls its kind: "aac".
  var codec: String { String(cString: avcodec_get_name(source.pointee.codecpar.pointee.codec_id)) }

  /// Hands out what sounds before `tick` of `clock` and was not handed out yet, with the film's own stream
  /// and ticks.
  func take(
    until tick: Int64, _ clock: AVRational, _ write: (UnsafeMutablePointer<AVPacket>) throws -> Void
  ) throws {
    guard let target, let packet else { return }
    while advance(), av_compare_ts(packet.pointee.dts, source.pointee.time_base, tick, clock) < 0 {
      isWaiting = false
      packet.pointee.stream_index = target.pointee.index
      packet.pointee.pos = -1
      av_packet_rescale_ts(packet, source.pointee.time_base, target.pointee.time_base)
      try write(packet)
    }
  }

  /// Whether there is another packet; its time is from the first picture.
  private func advance() -> Bool {
    while !isWaiting {
      av_packet_unref(packet)
      guard let packet, av_read_frame(input, packet) >= 0 else { return false }
      guard packet.pointee.stream_index == source.pointee.index else { continue }
      if packet.pointee.dts == turbocam_av_nopts_value { packet.pointee.dts = packet.pointee.pts }
      guard packet.pointee.dts != turbocam_av_nopts_value else { continue }
      isWaiting = place(packet)
    }
    return true
  }

  /// Counts the packet's time from the first picture. False where it is left out: it sounds before that
  /// picture, or no later than the packet before it.
  private func place(_ packet: UnsafeMutablePointer<AVPacket>) -> Bool {
    let (pts, dts) = (packet.pointee.pts, packet.pointee.dts)
    var tick = dts &+ shift
    if let last, jumps.isJump(from: nanoseconds(last.tick), to: nanoseconds(tick)) {
      tick = last.tick + last.duration
      shift = tick &- dts
      hasJumped = true
    }
    guard tick > last?.tick ?? -1, tick < Self.latest else { return false }
    let length = packet.pointee.duration
    last = (tick, length > 0 ? min(length, Self.latest) : tick - (last?.tick ?? tick - 1))
    let delay = pts == turbocam_av_nopts_value ? 0 : min(max(0, pts &- dts), Self.latest)
    packet.pointee.dts = tick
    packet.pointee.pts = tick + delay
    return true
  }

  private func nanoseconds(_ tick: Int64) -> Int64 {
    av_rescale_q(tick, source.pointee.time_base, AVRational(num: 1, den: 1_000_000_000))
  }

  /// A local file may not call out.
  private static func open(_ path: String) -> UnsafeMutablePointer<AVFormatContext>? {
    var input: UnsafeMutablePointer<AVFormatContext>?
    var options: OpaquePointer?
    defer { av_dict_free(&options) }
    av_dict_set(&options, "protocol_whitelist", "file", 0)
    av_dict_set(&options, "pattern_type", "none", 0)
    guard avformat_open_input(&input, "file:" + path, nil, &options) >= 0 else { return nil }
    guard avformat_find_stream_info(input, nil) >= 0 else {
      avformat_close_input(&input)
      return nil
    }
    return input
  }
}
