import CUDABackend
import Glibc

/// `turbocam kernels`: what a machine with a GPU but without NVRTC needs, made on one that has NVRTC.
struct KernelsCommand: Subcommand {
  static let name = "kernels"
  static let summary = "Compile the CUDA kernels beforehand, for machines without NVRTC."
  static let synopsis = "--output DIR"
  static let options = [
    Option(
      "output", "DIR",
      """
      a folder, made where it is not there; its place is PREFIX/share/turbocam/kernels, or \
      TURBOCAM_KERNELS
      """
    )
  ]
  static let notes =
    "Needs NVRTC and no GPU. The older the NVRTC (11.8), the older the drivers that take them."

  private let folder: String

  init(_ arguments: Arguments) throws {
    try arguments.expectOperands([])
    guard let folder = arguments.last("output"), !folder.isEmpty else {
      throw arguments.fail("--output needs a folder")
    }
    self.folder = folder
  }

  func run() throws -> Int32 {
    mkdir(folder, 0o755)
    try PrebuiltKernels(folder: folder).make { done in
      Terminal.status(Terminal.bar("compiling kernels", done))
    }
    Terminal.clearStatus()
    return 0
  }
}
