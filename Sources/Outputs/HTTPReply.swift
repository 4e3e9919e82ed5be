import CMicroHTTPD
import CWebPage
import Frames
import Glibc

/// An answer, made into libmicrohttpd's response when it is queued.
enum HTTPReply: ~Copyable {
  case text(_ status: UInt32, _ text: String, allow: String? = nil)
  case json(_ status: UInt32, _ bytes: [UInt8])
  case page
  /// A whole JPEG file.
  case picture(Frame)
  /// A JPEG that says why there is no picture.
  case notice(Frame)
  /// Parts without end, written by the viewer.
  case stream(Viewer)
  /// The headers of a stream or a picture.
  case headers(_ contentType: String)

  /// Hands the answer to libmicrohttpd. False where it could not; the connection then ends.
  consuming func queue(on connection: OpaquePointer, allowsCrossOrigin: Bool) -> Bool {
    switch consume self {
    case .text(let status, let text, let allow):
      let response = Self.copied(Array(text.utf8))
      if let allow { MHD_add_response_header(response, "Allow", allow) }
      if status == 401 { MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"turbocam\"") }
      return Self.send(response, status, "text/plain; charset=utf-8", connection, allowsCrossOrigin)
    case .json(let status, let bytes):
      return Self.send(Self.copied(bytes), status, "application/json", connection, allowsCrossOrigin)
    case .page:
      return Self.sendPage(connection, allowsCrossOrigin)
    case .picture(let frame):
      return Self.send(Self.holding(frame), 200, "image/jpeg", connection, allowsCrossOrigin)
    case .notice(let frame):
      return Self.send(Self.holding(frame), 503, "image/jpeg", connection, allowsCrossOrigin)
    case .stream(let viewer):
      return Self.send(Self.written(by: viewer), 200, Viewer.contentType, connection, allowsCrossOrigin)
    case .headers(let contentType):
      let response = MHD_create_response_from_callback(
        turbocam_mhd_size_unknown, 1024, { _, _, _, _ in Int(turbocam_mhd_end_of_stream) }, nil, nil)
      return Self.send(response, 200, contentType, connection, allowsCrossOrigin)
    }
  }

  private static func copied(_ bytes: [UInt8]) -> OpaquePointer? {
    bytes.withUnsafeBytes {
      MHD_create_response_from_buffer(
        $0.count, UnsafeMutableRawPointer(mutating: $0.baseAddress), turbocam_mhd_copied)
    }
  }

  /// The response holds a share in the frame until it is sent.
  private static func holding(_ frame: consuming Frame) -> OpaquePointer? {
    let bytes = frame.bytes
    let held = Unmanaged.passRetained(HeldFrame(frame))
    let response = MHD_create_response_from_buffer_with_free_callback_cls(
      bytes.count, UnsafeMutableRawPointer(mutating: bytes.baseAddress),
      { Unmanaged<HeldFrame>.fromOpaque($0!).release() }, held.toOpaque())
    if response == nil { held.release() }
    return response
  }

  private static func written(by viewer: Viewer) -> OpaquePointer? {
    let held = Unmanaged.passRetained(viewer)
    let response = MHD_create_response_from_callback(
      turbocam_mhd_size_unknown, Viewer.blockSize,
      { context, _, block, count in
        let viewer = Unmanaged<Viewer>.fromOpaque(context!).takeUnretainedValue()
        let room = UnsafeMutableRawBufferPointer(start: block, count: count)
        return viewer.read(into: room) ?? Int(turbocam_mhd_end_of_stream)
      }, held.toOpaque(),
      { Unmanaged<Viewer>.fromOpaque($0!).takeRetainedValue().leave() })
    guard let response else {
      held.takeRetainedValue().leave()
      return nil
    }
    // The end of the connection ends the stream: simple clients know nothing of chunks.
    turbocam_http_unchunked(response)
    return response
  }

  private static func sendPage(_ connection: OpaquePointer, _ allowsCrossOrigin: Bool) -> Bool {
    let response = MHD_create_response_from_buffer(
      turbocam_web_page_size, UnsafeMutableRawPointer(mutating: turbocam_web_page), turbocam_mhd_persistent)
    MHD_add_response_header(
      response, "Content-Security-Policy",
      "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
        + "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    return send(response, 200, "text/html; charset=utf-8", connection, allowsCrossOrigin)
  }

  /// `allowsCrossOrigin`: whoever brings the token may show the pictures on a page of their own.
  private static func send(
    _ response: OpaquePointer?, _ status: UInt32, _ contentType: String, _ connection: OpaquePointer,
    _ allowsCrossOrigin: Bool
  ) -> Bool {
    guard let response else { return false }
    let headers = [
      ("Content-Type", contentType),
      ("Cache-Control", "no-store, no-cache, must-revalidate, proxy-revalidate, max-age=0"),
      ("Pragma", "no-cache"),
      ("Expires", "Mon, 3 Jan 2000 12:34:56 GMT"),
      ("X-Content-Type-Options", "nosniff"),
      ("Referrer-Policy", "no-referrer"),
      ("Cross-Origin-Resource-Policy", allowsCrossOrigin ? "cross-origin" : "same-origin"),
    ]
    for (name, value) in headers { MHD_add_response_header(response, name, value) }
    // Seconds: a picture may be there at any time.
    if status == 503 { MHD_add_response_header(response, "Retry-After", "1") }
    let queued = MHD_queue_response(connection, status, response)
    MHD_destroy_response(response)
    return queued == turbocam_mhd_yes
  }
}

/// A frame behind a pointer that C holds.
private final class HeldFrame {
  let frame: Frame
  init(_ frame: consuming Frame) { self.frame = frame }
}

/// `{"error": …}`.
func errorJSON(_ reason: String) -> [UInt8] {
  var json = Array("{\"error\":\"".utf8)
  for byte in reason.utf8 {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): json += [UInt8(ascii: "\\"), byte]
    case 0..<0x20:
      let digits = Array("0123456789abcdef".utf8)
      json += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    default: json.append(byte)
    }
  }
  return json + Array("\"}\n".utf8)
}
