import Glibc

/// The programs that have `path` open beside this one, as far as this user may see: "firefox (process 1234)". Of
/// other users' programs the kernel tells only root.
///
/// `processes`: where the kernel shows them.
public func openers(of path: String, processes: String = "/proc") -> [String] {
  guard let target = resolved(path) else { return [] }
  return (names(in: processes) ?? []).compactMap { Int32($0) }.sorted()
    .filter { $0 != getpid() && hasOpen(target, "\(processes)/\($0)") }
    .map { "\(programName("\(processes)/\($0)")) (process \($0))" }
}

private func hasOpen(_ target: String, _ process: String) -> Bool {
  // What is open is compared by its name: asking the file itself may wait for a server that is gone.
  (names(in: "\(process)/fd") ?? []).contains { linkTarget("\(process)/fd/\($0)") == target }
}

private func programName(_ process: String) -> String {
  let name = shownText(
    readSmallFile("\(process)/comm")?.utf8.prefix { $0 != UInt8(ascii: "\n") } ?? "".utf8[...])
  return name.isEmpty ? "a program" : name
}

private func resolved(_ path: String) -> String? {
  guard let real = realpath(path, nil) else { return nil }
  defer { free(real) }
  return String(cString: real)
}

private func linkTarget(_ path: String) -> String? {
  var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
  let count = target.withUnsafeMutableBytes {
    readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
  }
  return count > 0 ? String(decoding: target[..<count], as: UTF8.self) : nil
}
