import CCUDA

/// A GPU that the driver knows.
public struct GPUDevice: Sendable, Equatable {
  /// As in `--device cuda:1`.
  public let ordinal: Int
  /// "NVIDIA H200".
  public let name: String
  /// Bytes.
  public let memory: Int
  /// 89 for compute capability 8.9.
  public let capability: Int
  public let multiprocessors: Int
  /// Shared memory that a block may have, bytes.
  public let sharedMemory: Int
  /// Highest clock of the multiprocessors, Hz; 0 where the driver does not say.
  public let clock: Double
  /// Bytes of L2 cache.
  public let cache: Int
  /// Peak of the memory, bytes a second; 0 where the driver does not say.
  public let bandwidth: Double
  /// In hexadecimal, without hyphens.
  public let uuid: String

  /// The oldest that has what the kernels use, Turing.
  static let oldest = 75

  init(_ driver: Driver, _ ordinal: Int) throws {
    var device: tc_CUdevice = 0
    try driver.check(
      driver.get("cuDeviceGet", tc_cuDeviceGet.self)(&device, Int32(ordinal)), "cuDeviceGet", "GPU \(ordinal)"
    )
    let attribute = try driver.get("cuDeviceGetAttribute", tc_cuDeviceGetAttribute.self)
    func read(_ number: Int32) throws -> Int {
      var value: Int32 = 0
      try driver.check(attribute(&value, number, device), "cuDeviceGetAttribute", "attribute \(number)")
      return Int(value)
    }
    self.ordinal = ordinal
    name = try Self.name(driver, device)
    var bytes = 0
    try driver.check(
      driver.get("cuDeviceTotalMem_v2", tc_cuDeviceTotalMem_v2.self)(&bytes, device), "cuDeviceTotalMem",
      "GPU \(ordinal)")
    memory = bytes
    capability = try read(TC_CUDA_CAPABILITY_MAJOR) * 10 + read(TC_CUDA_CAPABILITY_MINOR)
    multiprocessors = try read(TC_CUDA_MULTIPROCESSORS)
    sharedMemory = try read(TC_CUDA_SHARED_BYTES_OPTIN)
    cache = try read(TC_CUDA_L2_BYTES)
    clock = (try? Double(read(TC_CUDA_CLOCK_KHZ)) * 1e3) ?? 0
    // Two transfers a clock.
    bandwidth =
      (try? Double(read(TC_CUDA_MEMORY_CLOCK_KHZ)) * 2e3 * Double(read(TC_CUDA_MEMORY_BUS_BITS)) / 8) ?? 0
    var raw = tc_CUuuid()
    try driver.check(
      driver.get("cuDeviceGetUuid_v2", tc_cuDeviceGetUuid_v2.self)(&raw, device), "cuDeviceGetUuid",
      "GPU \(ordinal)")
    uuid = withUnsafeBytes(of: raw) { $0.map { hexadecimal(UInt64($0), digits: 2) }.joined() }
  }

  /// A card that need not be there, for what is decided by sizes.
  init(_ card: Card) {
    (ordinal, name, uuid) = (0, card.name, "")
    (memory, cache) = (0, 0)
    (capability, multiprocessors) = (card.capability, card.multiprocessors)
    (sharedMemory, clock, bandwidth) = (card.sharedMemory, 0, card.bandwidth)
  }

  private static func name(_ driver: Driver, _ device: tc_CUdevice) throws -> String {
    var text = [CChar](repeating: 0, count: 256)
    try driver.check(
      driver.get("cuDeviceGetName", tc_cuDeviceGetName.self)(&text, 255, device), "cuDeviceGetName", "a GPU")
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// "8.9"
  public var capabilityText: String { "\(capability / 10).\(capability % 10)" }

  static func count(_ driver: Driver) throws -> Int {
    var count: Int32 = 0
    try driver.check(
      driver.get("cuDeviceGetCount", tc_cuDeviceGetCount.self)(&count), "cuDeviceGetCount", "counting GPUs")
    return Int(count)
  }

  /// Throws where kernels do not run on it.
  func checkSupport() throws {
    guard capability >= Self.oldest else {
      throw CUDAError.unsupported(
        "\(name) has compute capability \(capabilityText), 7.5 or later is needed",
        remedy: "compute with --device cpu")
    }
  }
}

func hexadecimal(_ number: UInt64, digits: Int) -> String {
  let text = String(number, radix: 16)
  return String(repeating: "0", count: max(0, digits - text.count)) + text
}
