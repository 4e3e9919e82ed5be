import Glibc

extension FileSystem {
  /// Where models, clips and configurations that come with the program may lie: PREFIX/share/turbocam beside
  /// PREFIX/bin where it is installed, Fixtures where it was built in a checkout.
  public static let shared: [String] = {
    guard let executable else { return [] }
    let parts = executable.split(separator: "/")
    func folder(above count: Int) -> String { "/" + parts.dropLast(count).joined(separator: "/") }
    // .build/TRIPLE/release/turbocam lies four folders below its checkout.
    let checkouts = (2...6).map(folder).filter { isFile($0 + "/Package.swift") }
    return [folder(above: 2) + "/share/turbocam"] + checkouts.map { $0 + "/Fixtures" }
  }()

  /// The program's own path.
  public static var executable: String? {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = buffer.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
    return count > 0 && count < buffer.count ? String(decoding: buffer[..<count], as: UTF8.self) : nil
  }
}
