import Base
import CUDABackend
import Diffusion
import Filter
import Glibc

/// A graphics processor the kernel knows, whether or not anything computes on it.
struct GPU {
  var name: String
  /// The kernel's driver for it.
  var driver: String
  var isNVIDIA = false

  var text: String { "\(name) (\(driver)); not computed on" }
  var json: JSON { .object(["name": .string(name), "driver": .string(driver), "device": .null]) }

  /// Whether there seems to be a GPU of NVIDIA's, working or not.
  static var hasNVIDIA: Bool { list().contains(where: \.isNVIDIA) }

  /// NVIDIA's by name, others by their PCI vendor.
  static func list() -> [GPU] {
    let nvidia = (names(in: "/proc/driver/nvidia/gpus") ?? []).compactMap { address -> GPU? in
      let path = "/proc/driver/nvidia/gpus/\(address)/information"
      let model = readSmallFile(path)?.split(separator: "\n").first { $0.hasPrefix("Model:") }
      return model.map {
        GPU(name: $0.dropFirst("Model:".count).trimmed, driver: "nvidia", isNVIDIA: true)
      }
    }
    let others = (names(in: "/sys/bus/pci/devices") ?? []).compactMap {
      device("/sys/bus/pci/devices/\($0)", isKnown: !nvidia.isEmpty)
    }
    if nvidia.isEmpty, !others.contains(where: \.isNVIDIA), let hidden = hiddenNVIDIA {
      return [hidden] + others
    }
    return nvidia + others
  }

  /// Those that CUDA does not number.
  static func others(_ gpus: [GPU], than cuda: CUDASystem) -> [GPU] {
    cuda.gpus.isEmpty ? gpus : gpus.filter { !$0.isNVIDIA }
  }

  /// Where a container or WSL shows the device but not the bus it is on.
  private static var hiddenNVIDIA: GPU? {
    if fileExists("/dev/nvidia0") { return GPU(name: "NVIDIA GPU", driver: "nvidia", isNVIDIA: true) }
    guard fileExists("/dev/dxg"), fileExists("/usr/lib/wsl/lib/libcuda.so.1") else { return nil }
    return GPU(name: "NVIDIA GPU", driver: "dxgkrnl", isNVIDIA: true)
  }

  /// A display controller (PCI class 3); nil for other devices, and for NVIDIA's where they `isKnown`
  /// already.
  private static func device(_ path: String, isKnown: Bool) -> GPU? {
    guard let kind = readSmallFile("\(path)/class")?[...].trimmed, kind.hasPrefix("0x03"),
      let vendor = readSmallFile("\(path)/vendor")?[...].trimmed
    else { return nil }
    let isNVIDIA = vendor == "0x10de"
    if isNVIDIA, isKnown { return nil }
    let makers = ["0x8086": "Intel", "0x1002": "AMD", "0x1af4": "virtio", "0x10de": "NVIDIA"]
    let driver = readSmallFile("\(path)/uevent")?.split(separator: "\n")
      .first { $0.hasPrefix("DRIVER=") }.map { String($0.dropFirst("DRIVER=".count)) }
    return GPU(
      name: "\(makers[vendor] ?? "PCI vendor \(vendor)") graphics", driver: driver ?? "no driver",
      isNVIDIA: isNVIDIA)
  }
}
