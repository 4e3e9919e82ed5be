import Engine

/// What a graphics card can do: rates to hold times against, and to predict times by.
public struct Card: Sendable {
  /// "H200"
  public let name: String
  /// 90 for compute capability 9.0.
  public let capability: Int
  public let multiprocessors: Int
  /// Floating-point operations a second of tensor cores, 16-bit operands and sums in f32.
  public let tensorOperations: Double
  /// Floating-point operations a second of everything else.
  public let plainOperations: Double
  /// Bytes a second, read and written ones together.
  public let bandwidth: Double
  /// Seconds that a kernel of a captured graph takes beyond its work: start, first loads, last stores.
  public let launch: Double
  /// Whether products may go to Hopper's warpgroups, as `Tuning` has it for a card that is there.
  public var takesWarpgroups = false

  public init(
    name: String, capability: Int, multiprocessors: Int, tensorOperations: Double, plainOperations: Double,
    bandwidth: Double, launch: Double = 2e-6
  ) {
    self.name = name
    self.capability = capability
    self.multiprocessors = multiprocessors
    self.tensorOperations = tensorOperations
    self.plainOperations = plainOperations
    self.bandwidth = bandwidth
    self.launch = launch
  }

  /// The peaks of a GPU that is there, from its clocks: what nothing reaches.
  public init(_ device: GPUDevice) {
    let clocks = Double(device.multiprocessors) * device.clock
    self.init(
      name: device.name, capability: device.capability, multiprocessors: device.multiprocessors,
      tensorOperations: clocks * Self.tensorOperationsPerClock(device.capability),
      plainOperations: clocks * (device.capability < 86 ? 128 : 256), bandwidth: device.bandwidth)
  }

  /// Of a multiprocessor. NVIDIA's architecture papers: Turing, Ampere (A100, GA102), Ada, Hopper, Blackwell;
  /// on GeForce cards sums in f32 run at half the rate of sums in f16.
  private static func tensorOperationsPerClock(_ capability: Int) -> Double {
    switch capability {
    case 80: return 2048
    case 90: return 4096
    case 100..<120: return 8192
    default: return 512
    }
  }

  /// Operations a second of products of an element type.
  public func operations(_ element: ElementType) -> Double {
    switch element {
    case .f16: return tensorOperations
    case .bf16: return capability >= 80 ? tensorOperations : plainOperations
    default: return plainOperations
    }
  }

  /// Seconds that an op cannot fall short of; 0 of what a card does not tell.
  public func floor(operations count: Double, _ element: ElementType, bytes: Int) -> Double {
    let (rate, bandwidth) = (operations(element), bandwidth)
    return max(rate > 0 ? count / rate : 0, bandwidth > 0 ? Double(bytes) / bandwidth : 0)
  }

  /// Shared memory that a block may have, bytes (CUDA C++ Programming Guide, technical specifications).
  var sharedMemory: Int {
    switch capability {
    case 75: return 64 << 10
    case 80, 87: return 163 << 10
    case 90, 100..<120: return 227 << 10
    default: return 99 << 10
    }
  }

  // MARK: Named ones

  /// Rates that long kernels reach, not those of data sheets: an H200's as PyTorch was seen to reach them (an
  /// 8192x8192x8192 product of bf16, a copy of 8.6 GB), the others' in the same proportion to their data
  /// sheets. Plain rates are the data sheets'. Launches in captured graphs take 1 to 3 µs.
  public static let known: [Card] = [
    Card(
      name: "H200", capability: 90, multiprocessors: 132, tensorOperations: 790e12, plainOperations: 60e12,
      bandwidth: 4.3e12),
    Card(
      name: "H100", capability: 90, multiprocessors: 132, tensorOperations: 700e12, plainOperations: 60e12,
      bandwidth: 3.0e12),
    Card(
      name: "A100", capability: 80, multiprocessors: 108, tensorOperations: 265e12, plainOperations: 19.5e12,
      bandwidth: 1.75e12),
    Card(
      name: "4090", capability: 89, multiprocessors: 128, tensorOperations: 160e12, plainOperations: 80e12,
      bandwidth: 0.93e12),
    Card(
      name: "3060", capability: 86, multiprocessors: 28, tensorOperations: 25e12, plainOperations: 12.5e12,
      bandwidth: 0.33e12),
  ]
}
