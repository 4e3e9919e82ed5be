import Glibc

/// Where CUDA's libraries may lie.
enum LibrarySearch {
  /// Names this can be overridden by: a file each.
  static let driverVariable = "TURBOCAM_LIBCUDA"
  static let compilerVariable = "TURBOCAM_LIBNVRTC"
  static let cublasLtVariable = "TURBOCAM_LIBCUBLASLT"

  /// `driver`: its version, nil where that is not known.
  static func compilerRemedy(driver: Int?) -> String {
    "install it: \(wheel("nvidia-cuda-nvrtc", driver)), or sudo apt-get install libnvrtc11.2 (from non-free)"
  }

  /// The command that brings a wheel of the driver's CUDA into the user's home; Debian's pip asks to be told
  /// twice.
  private static func wheel(_ name: String, _ driver: Int?) -> String {
    let major = (driver ?? 12000) / 1000
    return "pip install --user --break-system-packages \(name)" + (major < 13 ? "-cu\(major)" : "")
  }

  static func driver() throws -> DynamicLibrary {
    let candidates = override(driverVariable) ?? ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"]
    return try DynamicLibrary(
      "NVIDIA's driver", candidates: candidates,
      remedy: "install it: sudo apt-get install nvidia-driver (from non-free), or compute with --device cpu")
  }

  /// What the dynamic linker knows, then toolkits, then Python's wheels. First those that are no newer than
  /// the driver (12040 for 12.4), which does not load what a later NVRTC makes; of later ones the oldest.
  static func compiler(driver: Int?) throws -> DynamicLibrary {
    let names = ordered([(13, "libnvrtc.so.13"), (12, "libnvrtc.so.12"), (11, "libnvrtc.so.11.2")], driver)
    let library = try DynamicLibrary(
      "NVRTC", candidates: override(compilerVariable) ?? candidates(names),
      remedy: compilerRemedy(driver: driver))
    openBuiltins(beside: library.path)
    return library
  }

  /// NVRTC opens a second library when it first compiles. 11 looks for it by its name alone, and so finds it
  /// in an unusual place only where it is open already.
  private static func openBuiltins(beside path: String) {
    guard let slash = path.lastIndex(of: "/") else { return }
    for file in matches(path[..<slash] + "/libnvrtc-builtins.so.*") {
      _ = dlopen(file, RTLD_NOW | RTLD_LOCAL)
    }
  }

  static func cublasLt(driver: Int?) throws -> DynamicLibrary {
    let names = ordered(
      [(13, "libcublasLt.so.13"), (12, "libcublasLt.so.12"), (11, "libcublasLt.so.11")], driver)
    return try DynamicLibrary(
      "cuBLASLt", candidates: override(cublasLtVariable) ?? candidates(names),
      remedy:
        "it is not needed; sudo apt-get install libcublaslt11 (from non-free), or \(wheel("nvidia-cublas", driver))"
    )
  }

  /// `names`: newest first.
  private static func ordered(_ names: [(major: Int, name: String)], _ driver: Int?) -> [String] {
    let most = (driver ?? .max) / 1000
    let (older, newer) = (names.filter { $0.major <= most }, names.filter { $0.major > most })
    return (older + newer.reversed()).map(\.name)
  }

  private static func override(_ variable: String) -> [String]? {
    getenv(variable).map { [String(cString: $0)] }
  }

  /// Each name wherever it may be, before the next name.
  private static func candidates(_ names: [String]) -> [String] {
    let folders = folders()
    return names.flatMap { name in
      [name] + folders.map { "\($0)/\(name)" }.filter { access($0, R_OK) == 0 }
    }
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
