import Glibc

/// At most `limit` bytes of a file as text, as those of /proc and /sys are; nil where it cannot be read.
public func readSmallFile(_ path: String, limit: Int = 65536) -> String? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var buffer = [UInt8](repeating: 0, count: limit)
  var filled = 0
  while filled < buffer.count {
    let count = buffer.withUnsafeMutableBytes {
      read(descriptor, $0.baseAddress! + filled, $0.count - filled)
    }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { break }
    filled += count
  }
  return String(decoding: buffer[..<filled], as: UTF8.self)
}
