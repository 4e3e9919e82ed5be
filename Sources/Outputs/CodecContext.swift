import Base
import CAV
import Glibc

/// An open libavcodec encoder with one frame and one packet to work with; freed with its owner.
final class CodecContext {
  let context: UnsafeMutablePointer<AVCodecContext>
  private let attempt: String
  private var frame: UnsafeMutablePointer<AVFrame>?
  private var packet: UnsafeMutablePointer<AVPacket>?

  /// Opens the encoder `name` after `configure` has set it up.
  init(
    encoder name: String, attempt: String, options: [String: String] = [:],
    configure: (UnsafeMutablePointer<AVCodecContext>) -> Void
  ) throws {
    guard let codec = avcodec_find_encoder_by_name(name) else {
      throw OutputError(
        .unavailable, attempt, "libavcodec has no encoder '\(name)'",
        remedy: "install it: sudo apt-get install libavcodec-extra")
    }
    guard let context = avcodec_alloc_context3(codec) else {
      throw OutputError(.system, attempt, systemFact("avcodec_alloc_context3", ENOMEM))
    }
    self.context = context
    self.attempt = attempt
    // What goes wrong is told by our own errors; x264 also says how well it did.
    av_log_set_level(AV_LOG_FATAL)
    configure(context)
    var dictionary: OpaquePointer?
    for (key, value) in options { av_dict_set(&dictionary, key, value, 0) }
    let failure = avcodec_open2(context, codec, &dictionary)
    av_dict_free(&dictionary)
    packet = av_packet_alloc()
    guard failure == 0, packet != nil else {
      throw OutputError(.software, attempt, avFact("avcodec_open2 (\(name))", failure))
    }
  }
  deinit {
    av_packet_free(&packet)
    av_frame_free(&frame)
    var context: UnsafeMutablePointer<AVCodecContext>? = context
    avcodec_free_context(&context)
  }

  /// The frame to fill, of the context's size and layout; the encoder may still hold what it was before.
  func makeFrame() throws -> UnsafeMutablePointer<AVFrame> {
    if frame == nil {
      guard let fresh = av_frame_alloc() else {
        throw OutputError(.system, attempt, systemFact("av_frame_alloc", ENOMEM))
      }
      frame = fresh
      fresh.pointee.width = context.pointee.width
      fresh.pointee.height = context.pointee.height
      fresh.pointee.format = context.pointee.pix_fmt.rawValue
      fresh.pointee.color_range = context.pointee.color_range
      fresh.pointee.colorspace = context.pointee.colorspace
      try check("av_frame_get_buffer", av_frame_get_buffer(fresh, 0))
    }
    try check("av_frame_make_writable", av_frame_make_writable(frame))
    return frame!
  }

  /// Encodes `frame` (nil: what is still inside) and hands every packet that comes out to `body`.
  func encode(
    _ frame: UnsafeMutablePointer<AVFrame>?, _ body: (UnsafeMutablePointer<AVPacket>) throws -> Void
  ) throws {
    let failure = avcodec_send_frame(context, frame)
    // A second flush is told that the end was reached before.
    guard failure != turbocam_averror_eof else { return }
    try check("avcodec_send_frame", failure)
    while true {
      let result = avcodec_receive_packet(context, packet)
      if result == turbocam_averror_eagain || result == turbocam_averror_eof { return }
      try check("avcodec_receive_packet", result)
      defer { av_packet_unref(packet) }
      try body(packet!)
    }
  }

  private func check(_ call: String, _ result: Int32) throws {
    guard result >= 0 else { throw OutputError(.software, attempt, avFact(call, result)) }
  }
}

/// "avcodec_open2: Invalid argument", in libav's words.
func avFact(_ call: String, _ code: Int32) -> String {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { text in
    av_strerror(code, text.baseAddress, text.count)
    return "\(call): \(String(cString: text.baseAddress!))"
  }
}
