import Glibc

/// Where CUDA's libraries may lie.
enum LibrarySearch {
  /// Names this can be overridden by: a file each.
  static let driverVariable = "TURBOCAM_LIBCUDA"
  static let compilerVariable = "TURBOCAM_LIBNVRTC"

  static func driver() throws -> DynamicLibrary {
    let candidates = override(driverVariable) ?? ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"]
    return try DynamicLibrary(
      "NVIDIA's driver", candidates: candidates,
      remedy: "install it: sudo apt-get install nvidia-driver (from non-free), or compute with --device cpu")
  }

  /// NVRTC 13, 12 and 11 in that order: what the dynamic linker knows, then toolkits, then Python's wheels.
  static func compiler() throws -> DynamicLibrary {
    try DynamicLibrary(
      "NVRTC", candidates: override(compilerVariable) ?? compilerCandidates(),
      remedy:
        "install it: pip install nvidia-cuda-nvrtc, or sudo apt-get install libnvrtc11.2 (from non-free)")
  }

  private static func override(_ variable: String) -> [String]? {
    getenv(variable).map { [String(cString: $0)] }
  }

  /// The name of NVRTC 11.2 to 11.8 is that of 11.2.
  private static let compilerNames = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"]

  private static func compilerCandidates() -> [String] {
    // What a file is known to be comes before what a name may find; names that are nowhere come last, for the error.
    let files = folders().flatMap { folder in compilerNames.map { "\(folder)/\($0)" } }
    return compilerNames + files.filter { access($0, R_OK) == 0 }
  }

  /// Folders of toolkits and of wheels.
  private static func folders() -> [String] {
    let toolkits = matches("/usr/local/cuda*/lib64") + matches("/opt/cuda*/lib64")
    var places: [String] = []
    if let environment = getenv("VIRTUAL_ENV") { places.append(String(cString: environment)) }
    if let home = getenv("HOME") { places.append(String(cString: home) + "/.local") }
    places += ["/usr/local", "/usr", "/opt/conda"]
    let wheels = places.flatMap { place in
      ["site-packages", "dist-packages"].flatMap { packages in
        matches("\(place)/lib/python3*/\(packages)/nvidia/*/lib")
      }
    }
    return toolkits + wheels
  }

  /// Files of a shell pattern, newest name first.
  private static func matches(_ pattern: String) -> [String] {
    var found = glob_t()
    defer { globfree(&found) }
    guard glob(pattern, 0, nil, &found) == 0 else { return [] }
    return (0..<Int(found.gl_pathc)).compactMap { found.gl_pathv[$0].map { String(cString: $0) } }.reversed()
  }
}
