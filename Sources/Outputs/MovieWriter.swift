import CAV
import Frames
import Glibc

/// One H.264 track in one file, and the sound that goes along, through libavcodec and libavformat.
final class MovieWriter {
  /// Ticks a second of the time stamps, as MPEG has them.
  private static let clock: Int32 = 90_000
  private static let ticksPerFragment = Int64(clock) * 2

  /// The encoder to use, nil where libavcodec has none.
  static var encoderName: String? {
    ["libx264", "libopenh264"].first { avcodec_find_encoder_by_name($0) != nil }
  }

  private let target: FileTarget
  private let file: FileSink
  private let codec: CodecContext
  private let converter: PictureConverter
  /// One picture as it is converted: planes without padding.
  private let room: UnsafeMutableRawBufferPointer
  private var muxer: UnsafeMutablePointer<AVFormatContext>?
  private var stream: UnsafeMutablePointer<AVStream>
  private let sound: SoundTrack?
  private var firstTime: UInt64?
  private var lastTick: Int64 = -1
  private var lastKeyTick: Int64 = 0
  /// Ticks from the last picture but one to the last, which is shown as long, up to a second.
  private var interval = Int64(clock / 30)
  /// The last picture that the encoder gave, not yet in the file, and how many are in it.
  private var waiting: UnsafeMutablePointer<AVPacket>?
  private var count = 0

  /// Creates the file and writes its head. `format`: the first picture, whose size (made even) stays.
  init(
    _ target: FileTarget, container: String, like format: PictureFormat, sound wanted: SoundTrack? = nil
  ) throws {
    self.target = target
    // 4:2:0 has even sides, H.264's macroblocks are 16 pixels wide.
    let (width, height) = (max(16, format.width & ~1), max(16, format.height & ~1))
    let picture = PictureFormat(.i420, width: width, height: height)
    converter = try PictureConverter(to: picture, fit: .contain)
    room = .allocate(byteCount: width * height * 3 / 2, alignment: 64)
    codec = try Self.makeCodec(target, width: width, height: height)
    file = try FileSink(target)
    do {
      (muxer, stream, sound) = try Self.makeMuxer(target, container, codec, file, wanted)
    } catch {
      file.discard()
      throw FileTarget.removed(error)
    }
  }
  deinit {
    room.deallocate()
    av_packet_free(&waiting)
    // The file's own AVIOContext is not the muxer's to free.
    muxer?.pointee.pb = nil
    avformat_free_context(muxer)
  }

  var hasSound: Bool { sound != nil }

  /// `time`: nanoseconds on any clock; only differences matter.
  func add(_ bytes: UnsafeRawBufferPointer, _ format: PictureFormat, time: UInt64) throws {
    try converter.convert(bytes, format, into: room)
    let frame = try codec.makeFrame()
    fill(frame)
    frame.pointee.pts = tick(of: time)
    // A key frame begins a fragment; by time, because the rate of frames varies.
    let isDue = frame.pointee.pts - lastKeyTick >= Self.ticksPerFragment
    frame.pointee.pict_type = isDue ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE
    if isDue { lastKeyTick = frame.pointee.pts }
    try codec.encode(frame, queue)
  }

  /// Writes what the encoder still holds and the end of the file.
  func finish() throws {
    try codec.encode(nil, queue)
    if let waiting, waiting.pointee.data != nil {
      waiting.pointee.duration = min(interval, Int64(Self.clock))
      let end = waiting.pointee.pts + waiting.pointee.duration
      try write(waiting)
      try writeSound(until: end)
    }
    try check("av_write_trailer", av_write_trailer(muxer))
    try file.close()
  }

  /// Keeps what is whole and gives up the rest. Gives false, and leaves no file, where not one picture is
  /// whole.
  func abandon() -> Bool { file.cut() }

  /// libavcodec has rows of its own length.
  private func fill(_ frame: UnsafeMutablePointer<AVFrame>) {
    let (width, height) = (converter.target.width, converter.target.height)
    let luma = room.baseAddress!
    let chroma = luma + width * height
    copy(luma, to: frame.pointee.data.0, frame.pointee.linesize.0, width, height)
    copy(chroma, to: frame.pointee.data.1, frame.pointee.linesize.1, width / 2, height / 2)
    copy(
      chroma + width * height / 4, to: frame.pointee.data.2, frame.pointee.linesize.2, width / 2, height / 2)
  }

  private func copy(
    _ plane: UnsafeRawPointer, to target: UnsafeMutablePointer<UInt8>?, _ stride: Int32, _ width: Int,
    _ height: Int
  ) {
    for y in 0..<height { memcpy(target! + y * Int(stride), plane + y * width, width) }
  }

  /// Time stamps rise, whatever the clocks of capture do.
  private func tick(of time: UInt64) -> Int64 {
    let start = firstTime ?? time
    firstTime = start
    let elapsed = time > start ? time - start : 0
    let (seconds, rest) = elapsed.quotientAndRemainder(dividingBy: 1_000_000_000)
    let tick = Int64(seconds * UInt64(Self.clock) + rest * UInt64(Self.clock) / 1_000_000_000)
    lastTick = max(tick, lastTick + 1)
    return lastTick
  }

  /// A picture's duration is known only when the next arrives, so each packet is held back by one.
  private func queue(_ packet: UnsafeMutablePointer<AVPacket>) throws {
    if let waiting {
      interval = max(1, packet.pointee.pts - waiting.pointee.pts)
      waiting.pointee.duration = interval
      try write(waiting)
    } else {
      waiting = av_packet_alloc()
    }
    av_packet_move_ref(waiting, packet)
  }

  /// A disk that is full soon should keep what fits: the first picture is a fragment of its own, and up to
  /// two seconds the others end with the second, the fourth, the eighth and so on.
  private func write(_ packet: UnsafeMutablePointer<AVPacket>) throws {
    count += 1
    try writeSound(until: packet.pointee.pts)
    let endsFragment = packet.pointee.pts < Self.ticksPerFragment && count & (count - 1) == 0
    av_packet_rescale_ts(packet, codec.context.pointee.time_base, stream.pointee.time_base)
    packet.pointee.stream_index = stream.pointee.index
    defer { av_packet_unref(packet) }
    try check("av_write_frame", av_write_frame(muxer, packet))
    if endsFragment { try check("av_write_frame", av_write_frame(muxer, nil)) }
    avio_flush(file.context)
    try check("write", file.context.pointee.error)
    file.keep()
  }

  /// What sounds before the picture of that tick, so that a player finds both in one place.
  private func writeSound(until tick: Int64) throws {
    try sound?.take(until: tick, codec.context.pointee.time_base) {
      try check("av_write_frame", av_write_frame(muxer, $0))
    }
  }

  private func check(_ call: String, _ result: Int32) throws {
    guard result < 0 else { return }
    if let number = file.failure { throw target.refusal(number) }
    throw OutputError(.io, target.attempt, avFact(call, result))
  }

  private static func makeCodec(_ target: FileTarget, width: Int, height: Int) throws -> CodecContext {
    let name = encoderName ?? "libx264"
    // A recorder runs beside a model that wants all the CPU: fast, two threads, and no long look-ahead.
    let options = name == "libx264" ? ["preset": "veryfast", "crf": "20", "rc-lookahead": "10"] : [:]
    return try CodecContext(encoder: name, attempt: target.attempt, options: options) {
      $0.pointee.width = Int32(width)
      $0.pointee.height = Int32(height)
      $0.pointee.pix_fmt = AV_PIX_FMT_YUV420P
      $0.pointee.color_range = AVCOL_RANGE_MPEG
      $0.pointee.colorspace = AVCOL_SPC_SMPTE170M
      $0.pointee.time_base = AVRational(num: 1, den: clock)
      $0.pointee.framerate = AVRational(num: 30, den: 1)
      $0.pointee.gop_size = 300
      $0.pointee.max_b_frames = 0
      $0.pointee.thread_count = 2
      if name != "libx264" { $0.pointee.bit_rate = Int64(width * height * 6) }
      // Both containers carry the parameter sets in their head.
      $0.pointee.flags |= Int32(bitPattern: UInt32(AV_CODEC_FLAG_GLOBAL_HEADER))
    }
  }

  /// Whether a kind of sound fits may be found out only while the head is written: that of .mp4 wants to see
  /// packets of AC-3 and its like first. Then it is written again without the sound.
  private static func makeMuxer(
    _ target: FileTarget, _ container: String, _ codec: CodecContext, _ file: FileSink, _ wanted: SoundTrack?
  ) throws -> (UnsafeMutablePointer<AVFormatContext>, UnsafeMutablePointer<AVStream>, SoundTrack?) {
    guard let wanted else { return try makeMuxer(target, container, codec, file, with: nil) }
    do {
      return try makeMuxer(target, container, codec, file, with: wanted)
    } catch {
      guard file.failure == nil else { throw error }
      file.restart()
      return try makeMuxer(target, container, codec, file, with: nil)
    }
  }

  private static func makeMuxer(
    _ target: FileTarget, _ container: String, _ codec: CodecContext, _ file: FileSink,
    with wanted: SoundTrack?
  ) throws -> (UnsafeMutablePointer<AVFormatContext>, UnsafeMutablePointer<AVStream>, SoundTrack?) {
    func refuse(_ call: String, _ result: Int32) -> OutputError {
      if let number = file.failure { return target.refusal(number) }
      return OutputError(.software, target.attempt, avFact(call, result))
    }
    var made: UnsafeMutablePointer<AVFormatContext>?
    let name = container == "mkv" ? "matroska" : container
    let result = avformat_alloc_output_context2(&made, nil, name, nil)
    guard result >= 0, let muxer = made else { throw refuse("avformat_alloc_output_context2", result) }
    var owned: UnsafeMutablePointer<AVFormatContext>? = muxer
    defer {
      owned?.pointee.pb = nil
      avformat_free_context(owned)
    }
    muxer.pointee.pb = file.context
    guard let stream = avformat_new_stream(muxer, nil) else { throw refuse("avformat_new_stream", -ENOMEM) }
    stream.pointee.time_base = codec.context.pointee.time_base
    let copied = avcodec_parameters_from_context(stream.pointee.codecpar, codec.context)
    guard copied >= 0 else { throw refuse("avcodec_parameters_from_context", copied) }
    let sound = wanted.flatMap { $0.join(muxer) ? $0 : nil }
    var options: OpaquePointer?
    if container == "mp4" {
      av_dict_set(&options, "movflags", "frag_keyframe+empty_moov+default_base_moof", 0)
    } else {
      av_dict_set(&options, "cluster_time_limit", "2000", 0)
    }
    let headed = avformat_write_header(muxer, &options)
    av_dict_free(&options)
    guard headed >= 0 else { throw refuse("avformat_write_header", headed) }
    avio_flush(file.context)
    guard file.failure == nil else { throw refuse("write", file.context.pointee.error) }
    file.beginBody()
    owned = nil
    return (muxer, stream, sound)
  }
}

/// A file behind an AVIOContext of our own, so that the error number of a failed write is known and the file
/// can be cut where it was whole.
private final class FileSink {
  let context: UnsafeMutablePointer<AVIOContext>
  /// The first error of a write.
  private(set) var failure: Int32?
  private let target: FileTarget
  private var descriptor: Int32
  private var wholeByteCount: off_t = 0
  private var headByteCount: off_t = 0

  init(_ target: FileTarget) throws {
    self.target = target
    descriptor = try target.create()
    let size = 64 * 1024
    let buffer = av_malloc(size)!.assumingMemoryBound(to: UInt8.self)
    // Filled in below: the callbacks want `self`, which wants the context.
    context = avio_alloc_context(buffer, Int32(size), 1, nil, nil, nil, nil)!
    context.pointee.opaque = Unmanaged.passUnretained(self).toOpaque()
    context.pointee.write_packet = { opaque, bytes, count in
      Unmanaged<FileSink>.fromOpaque(opaque!).takeUnretainedValue().write(bytes, count)
    }
    context.pointee.seek = { opaque, offset, whence in
      Unmanaged<FileSink>.fromOpaque(opaque!).takeUnretainedValue().seek(offset, whence)
    }
    context.pointee.seekable = AVIO_SEEKABLE_NORMAL
  }
  deinit {
    if descriptor >= 0 { Glibc.close(descriptor) }
    av_free(context.pointee.buffer)
    var context: UnsafeMutablePointer<AVIOContext>? = context
    avio_context_free(&context)
  }

  /// Empty again, after a head that could not be written to its end.
  func restart() {
    avio_flush(context)
    avio_seek(context, 0, SEEK_SET)
    ftruncate(descriptor, 0)
  }

  /// What is written by now is the head, without a picture.
  func beginBody() { headByteCount = lseek(descriptor, 0, SEEK_CUR) }

  /// What is written by now is whole.
  func keep() { wholeByteCount = max(wholeByteCount, lseek(descriptor, 0, SEEK_CUR)) }

  func close() throws {
    avio_flush(context)
    if failure == nil, Glibc.close(descriptor) != 0 { failure = errno }
    descriptor = -1
    if let failure { throw target.refusal(failure) }
  }

  /// Ends the file after its last whole part. False where there is none: then it is removed.
  func cut() -> Bool {
    guard wholeByteCount > headByteCount else {
      discard()
      return false
    }
    guard descriptor >= 0 else { return true }
    ftruncate(descriptor, wholeByteCount)
    Glibc.close(descriptor)
    descriptor = -1
    return true
  }

  /// A file without a picture is no film.
  func discard() {
    unlink(target.path)
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }

  private func write(_ bytes: UnsafeRawPointer?, _ count: Int32) -> Int32 {
    // After a failure nothing more is tried: a smaller piece might fit and leave a hole before it.
    guard failure == nil else { return -failure! }
    if writeAll(descriptor, UnsafeRawBufferPointer(start: bytes, count: Int(count))) { return count }
    failure = errno
    return -failure!
  }

  private func seek(_ offset: Int64, _ whence: Int32) -> Int64 {
    if whence == AVSEEK_SIZE {
      var status = stat()
      return fstat(descriptor, &status) == 0 ? Int64(status.st_size) : -Int64(errno)
    }
    let result = lseek(descriptor, off_t(offset), whence & ~Int32(AVSEEK_FORCE))
    return result >= 0 ? Int64(result) : -Int64(errno)
  }
}
