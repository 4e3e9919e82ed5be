import Glibc

/// The whole of a file.
func readFile(_ path: String) throws -> [UInt8] {
  guard let file = fopen(path, "rb") else { throw CheckError("\(path): \(String(cString: strerror(errno)))") }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
  return bytes
}

/// The same as a text.
func readText(_ path: String) throws -> String { String(decoding: try readFile(path), as: UTF8.self) }

func writeFile(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  guard let file = fopen(path, "wb") else { throw CheckError("\(path): \(String(cString: strerror(errno)))") }
  let count = fwrite(bytes.baseAddress, 1, bytes.count, file)
  guard fclose(file) == 0, count == bytes.count else { throw CheckError("\(path) could not be written") }
}

/// Seconds of a clock that only goes forward.
func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
