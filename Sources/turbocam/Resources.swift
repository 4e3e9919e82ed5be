import Glibc

/// What comes with the program, beside its models: the demo clip, and CUDA kernels where they were compiled beforehand.
///
/// Installed, it lies in PREFIX/share/turbocam beside PREFIX/bin; in a checkout, in Fixtures.
enum Resources {
  static var demoClip: String? { find("clips/demo.mp4") }

  /// A model's configuration with rules for its weights.
  static func sizes(_ name: String) -> String? {
    find("sizes/\(name)/model_index.json").map { String($0.dropLast("/model_index.json".count)) }
  }

  /// The folder of CUDA kernels compiled beforehand: `TURBOCAM_KERNELS`, or what was installed.
  static var kernels: String? {
    if let folder = getenv("TURBOCAM_KERNELS") { return String(cString: folder) }
    return find("kernels")
  }

  private static func find(_ path: String) -> String? {
    roots.map { "\($0)/\(path)" }.first(where: fileExists)
  }

  private static var roots: [String] {
    guard let executable = Process.executable else { return [] }
    let folders = executable.split(separator: "/").dropLast()
    var roots = ["/" + (folders.dropLast() + ["share", "turbocam"]).joined(separator: "/")]
    // A build lies at most four folders below its checkout: .build/TRIPLE/release/turbocam.
    for depth in 1...4 where folders.count >= depth {
      roots.append("/" + (folders.dropLast(depth) + ["Fixtures"]).joined(separator: "/"))
    }
    return roots
  }
}
