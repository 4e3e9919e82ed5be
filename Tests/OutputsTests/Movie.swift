import CAV

/// What libavformat and libavcodec find in a file.
struct Movie {
  var width = 0
  var height = 0
  var codec = AV_CODEC_ID_NONE
  /// Seconds, one a packet.
  var times: [Double] = []
  var keyTimes: [Double] = []
  /// Frames that decode without an error.
  var decoded = 0
  /// Y, U and V in the middle of the last decoded picture.
  var center: (y: UInt8, u: UInt8, v: UInt8) = (0, 0, 0)
  /// The demuxer's own word on the length, seconds.
  var duration = 0.0

  /// nil where it cannot be opened.
  init?(_ path: String) {
    var format: UnsafeMutablePointer<AVFormatContext>?
    guard avformat_open_input(&format, path, nil, nil) == 0, let format else { return nil }
    defer {
      var format: UnsafeMutablePointer<AVFormatContext>? = format
      avformat_close_input(&format)
    }
    guard avformat_find_stream_info(format, nil) >= 0, format.pointee.nb_streams == 1,
      let stream = format.pointee.streams[0], let parameters = stream.pointee.codecpar,
      let decoder = avcodec_find_decoder(parameters.pointee.codec_id),
      let context = avcodec_alloc_context3(decoder)
    else { return nil }
    width = Int(parameters.pointee.width)
    height = Int(parameters.pointee.height)
    codec = parameters.pointee.codec_id
    duration = Double(format.pointee.duration) / Double(AV_TIME_BASE)
    avcodec_parameters_to_context(context, parameters)
    guard avcodec_open2(context, decoder, nil) == 0 else { return nil }
    var packet = av_packet_alloc()
    var frame = av_frame_alloc()
    let base = av_q2d(stream.pointee.time_base)
    while av_read_frame(format, packet) == 0 {
      let time = Double(packet!.pointee.pts) * base
      times.append(time)
      if packet!.pointee.flags & AV_PKT_FLAG_KEY != 0 { keyTimes.append(time) }
      avcodec_send_packet(context, packet)
      av_packet_unref(packet)
      drain(context, frame!)
    }
    avcodec_send_packet(context, nil)
    drain(context, frame!)
    av_frame_free(&frame)
    av_packet_free(&packet)
    var owned: UnsafeMutablePointer<AVCodecContext>? = context
    avcodec_free_context(&owned)
  }

  private mutating func drain(
    _ context: UnsafeMutablePointer<AVCodecContext>, _ frame: UnsafeMutablePointer<AVFrame>
  ) {
    while avcodec_receive_frame(context, frame) == 0 {
      if frame.pointee.decode_error_flags == 0 { decoded += 1 }
      guard
        frame.pointee.format == AV_PIX_FMT_YUV420P.rawValue
          || frame.pointee.format == AV_PIX_FMT_YUVJ420P.rawValue
      else { continue }
      let (x, y) = (Int(frame.pointee.width) / 2, Int(frame.pointee.height) / 2)
      center.y = frame.pointee.data.0![y * Int(frame.pointee.linesize.0) + x]
      center.u = frame.pointee.data.1![y / 2 * Int(frame.pointee.linesize.1) + x / 2]
      center.v = frame.pointee.data.2![y / 2 * Int(frame.pointee.linesize.2) + x / 2]
    }
  }
}
