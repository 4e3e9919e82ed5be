import Base
import Glibc

/// The whole of a file.
public func readFile(_ path: String) throws -> [UInt8] {
  guard let file = fopen(path, "rbe") else { throw SystemFailure("opening \(path)") }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 1 << 16)
  while case let count = fread(&piece, 1, piece.count, file), count > 0 { bytes += piece[..<count] }
  guard ferror(file) == 0 else { throw SystemFailure("reading \(path)") }
  return bytes
}

/// The same as a text.
public func readText(_ path: String) throws -> String { String(decoding: try readFile(path), as: UTF8.self) }

/// Makes a file, or another of what is there.
public func writeFile(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  guard let file = fopen(path, "wbe") else { throw SystemFailure("making \(path)") }
  let count = fwrite(bytes.baseAddress, 1, bytes.count, file)
  guard fclose(file) == 0, count == bytes.count else { throw SystemFailure("writing \(path)") }
}

public func writeFile(_ path: String, _ bytes: [UInt8]) throws {
  try bytes.withUnsafeBytes { try writeFile(path, $0) }
}
