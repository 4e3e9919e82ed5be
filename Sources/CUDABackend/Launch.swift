import CCUDA

/// Blocks or threads in three dimensions.
struct Extent {
  var x: Int
  var y = 1
  var z = 1
}

/// A kernel with its grid and its struct of parameters.
final class Launch<Parameters>: Runnable {
  /// The struct; addresses that are not known yet are written later.
  let parameters: UnsafeMutablePointer<Parameters>
  let label: String
  private let arguments: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  private let stream: GPUStream
  private let launch: tc_cuLaunchKernel
  private let launchOverlapping: tc_cuLaunchKernelEx?
  private let kernel: Kernel
  private let grid: Extent
  private let threads: Int
  private let sharedMemory: Int

  init(
    _ stream: GPUStream, _ kernel: Kernel, _ parameters: Parameters, grid: Extent, threads: Int,
    sharedMemory: Int = 0
  ) throws {
    self.stream = stream
    self.kernel = kernel
    self.grid = grid
    self.threads = threads
    self.sharedMemory = sharedMemory
    label = kernel.label
    launch = try stream.driver.get("cuLaunchKernel", tc_cuLaunchKernel.self)
    launchOverlapping =
      kernel.awaitsPrevious ? stream.driver.library.find("cuLaunchKernelEx", tc_cuLaunchKernelEx.self) : nil
    self.parameters = .allocate(capacity: 1)
    self.parameters.initialize(to: parameters)
    arguments = .allocate(capacity: 1)
    arguments.initialize(to: UnsafeMutableRawPointer(self.parameters))
  }

  func run() throws {
    if stream.overlapsLaunches, let launchOverlapping { return try run(launchOverlapping) }
    let code = withExtendedLifetime(self) {
      launch(
        kernel.function, UInt32(grid.x), UInt32(grid.y), UInt32(grid.z), UInt32(threads), 1, 1,
        UInt32(sharedMemory), stream.raw, arguments, nil)
    }
    try stream.driver.check(code, "cuLaunchKernel", label)
  }

  private func run(_ launch: tc_cuLaunchKernelEx) throws {
    var attribute = tc_CUlaunchAttribute()
    attribute.id = TC_CUDA_LAUNCH_OVERLAPPING
    attribute.value = 1
    let code = withExtendedLifetime(self) {
      withUnsafeMutablePointer(to: &attribute) {
        var config = tc_CUlaunchConfig(
          grid_x: UInt32(grid.x), grid_y: UInt32(grid.y), grid_z: UInt32(grid.z), block_x: UInt32(threads),
          block_y: 1, block_z: 1, shared_bytes: UInt32(sharedMemory), stream: stream.raw, attributes: $0,
          attribute_count: 1)
        return launch(&config, kernel.function, arguments, nil)
      }
    }
    try stream.driver.check(code, "cuLaunchKernelEx", label)
  }

  deinit {
    arguments.deallocate()
    parameters.deinitialize(count: 1)
    parameters.deallocate()
  }
}
