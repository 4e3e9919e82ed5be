import CPUBackend
import Engine

/// Where to compute.
enum Device {
  /// `auto` and `cpu` are the same while there is one backend.
  static func backend(_ name: String) throws -> any Backend {
    try CPUBackend(precision: .automatic, threads: nil)
  }
}
