import Base
import Glibc

/// Compiled kernels on disk, so that only the first start on a machine compiles.
///
/// Who may write into the folder may run code on the GPU as us, as with any program's cache: it is the user's
/// own. Files that are cut or damaged are compiled again.
struct KernelCache {
  private let folder: String?
  private static let magic: [UInt8] = Array("turbocam kernel 1\n".utf8)

  /// `TURBOCAM_CACHE`, or the user's cache folder; nil where neither can be known.
  static func defaultFolder() -> String? {
    if let folder = getenv("TURBOCAM_CACHE") { return String(cString: folder) + "/kernels" }
    if let cache = getenv("XDG_CACHE_HOME") { return String(cString: cache) + "/turbocam/kernels" }
    return getenv("HOME").map { String(cString: $0) + "/.cache/turbocam/kernels" }
  }

  init(folder: String? = KernelCache.defaultFolder()) { self.folder = folder }

  /// nil where there is none, or a damaged one.
  func read(_ key: String) -> [UInt8]? {
    guard let folder, let bytes = readFile("\(folder)/\(key)", atMost: 1 << 28),
      bytes.count > Self.magic.count + 8, bytes.starts(with: Self.magic)
    else { return nil }
    let code = Array(bytes[(Self.magic.count + 8)...])
    let sum = bytes[Self.magic.count..<Self.magic.count + 8].reduce(0) { $0 << 8 | UInt64($1) }
    return sum == Self.checksum(code) ? code : nil
  }

  /// Whether it was written; a cache that cannot be written only costs time.
  @discardableResult
  func write(_ key: String, _ code: [UInt8]) -> Bool {
    guard let folder, Self.makeFolders(folder) else { return false }
    let temporary = "\(folder)/.\(key).\(getpid())"
    guard let file = fopen(temporary, "wb") else { return false }
    let sum = Self.checksum(code)
    let bytes = Self.magic + (0..<8).map { UInt8(truncatingIfNeeded: sum >> (56 - 8 * UInt64($0))) } + code
    let written = fwrite(bytes, 1, bytes.count, file) == bytes.count
    // A full disk may show only here.
    guard fclose(file) == 0, written, rename(temporary, "\(folder)/\(key)") == 0 else {
      unlink(temporary)
      return false
    }
    return true
  }

  private static func checksum(_ bytes: [UInt8]) -> UInt64 {
    var hash = FNV()
    hash.add(bytes)
    return hash.value
  }

  private static func makeFolders(_ path: String) -> Bool {
    var position = path.startIndex
    while let slash = path[path.index(after: position)...].firstIndex(of: "/") {
      mkdir(String(path[..<slash]), 0o755)
      position = slash
      if path.index(after: position) == path.endIndex { break }
    }
    mkdir(path, 0o755)
    return access(path, W_OK) == 0
  }
}
