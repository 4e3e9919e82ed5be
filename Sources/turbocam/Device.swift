import CPUBackend
import Engine

/// Where to compute.
enum Device {
  /// `auto` and `cpu` are the same while there is one backend.
  static func backend(_ name: String) throws -> any Backend {
    try CPUBackend(precision: .automatic, threads: nil)
  }

  /// Floating-point operations a second that the machine reaches at best in the backend's element type.
  static func peak(of backend: any Backend) throws -> Double {
    let peak = try CPUBackend.measurePeak()
    return backend.preferredElement == .bf16 ? peak.bf16 : peak.f32
  }
}
