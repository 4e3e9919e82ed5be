import Diffusion
import Glibc

/// What comes with the program, beside its models: the demo clip, and CUDA kernels where they were compiled
/// beforehand.
///
/// Installed, it lies in PREFIX/share/turbocam beside PREFIX/bin; in a checkout, in Fixtures.
enum Resources {
  static var demoClip: String? { find("clips/demo.mp4") }

  /// The folder of a model, or of an autoencoder, that has rules in place of weights.
  static func sizes(_ name: String) -> String? { find("sizes/\(name)") }

  /// The folder of CUDA kernels compiled beforehand: `TURBOCAM_KERNELS`, or what was installed.
  static var kernels: String? {
    if let folder = getenv("TURBOCAM_KERNELS") { return String(cString: folder) }
    return find("kernels")
  }

  private static func find(_ path: String) -> String? {
    FileSystem.shared.map { "\($0)/\(path)" }.first(where: fileExists)
  }
}
