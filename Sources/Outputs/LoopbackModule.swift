import Base
import Glibc

/// The kernel module v4l2loopback as it is on this machine, and the commands that make a virtual camera of it.
public struct LoopbackModule: Equatable, Sendable {
  public enum Presence: Equatable, Sendable {
    /// `canAdd`: v4l2loopback-ctl and the driver can add a device (from 0.13 on); else it must be loaded anew.
    case loaded(canAdd: Bool)
    /// Built for the running kernel.
    case built
    /// Its source is there, and it is not built for the running kernel: mostly, that was updated.
    case notBuilt(hasHeaders: Bool)
    case missing
  }
  public let presence: Presence
  /// The firmware lets the kernel load only what is signed by a key that it knows.
  public let isSecureBoot: Bool

  public init(presence: Presence, isSecureBoot: Bool) {
    self.presence = presence
    self.isSecureBoot = isSecureBoot
  }

  /// `root`: the folder that holds /sys, /lib and so on. `release`: of the kernel.
  public init(root: String = "", release: String = LoopbackModule.runningKernel) {
    func isThere(_ path: String) -> Bool { access(root + path, F_OK) == 0 }
    // The last byte of the firmware's variable says whether it is on.
    let variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    isSecureBoot = readSmallFile(root + variable)?.utf8.last == 1
    if isThere("/sys/module/v4l2loopback") {
      let tools = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map { "\($0)/v4l2loopback-ctl" }
      presence = .loaded(canAdd: isThere("/dev/v4l2loopback") && tools.contains(where: isThere))
    } else if LoopbackModule.isListed("\(root)/lib/modules/\(release)/modules.dep") {
      presence = .built
    } else if (names(in: "\(root)/usr/src") ?? []).contains(where: { $0.hasPrefix("v4l2loopback-") }) {
      presence = .notBuilt(hasHeaders: isThere("/lib/modules/\(release)/build"))
    } else {
      presence = .missing
    }
  }

  public static var runningKernel: String {
    var system = utsname()
    uname(&system)
    return withUnsafeBytes(of: system.release) { shownText($0.prefix { $0 != 0 }) }
  }

  /// A line of modules.dep is a module's file and what it needs.
  private static func isListed(_ path: String) -> Bool {
    let modules = readSmallFile(path, limit: 4 << 20)?.utf8.split(separator: UInt8(ascii: "\n")) ?? []
    return modules.contains {
      let file = $0.prefix { $0 != UInt8(ascii: ":") }
      let name = file.split(separator: UInt8(ascii: "/")).last ?? file
      return name.starts(with: "v4l2loopback.ko".utf8)
    }
  }

  // MARK: - What to do

  /// What modprobe is told. With `exclusive_caps=1` the device is a camera only while it is written to: browsers list no
  /// other kind.
  public static func options(_ number: Int) -> String {
    "video_nr=\(number) card_label=turbocam exclusive_caps=1 max_buffers=2"
  }

  /// Makes the firmware know the key that DKMS signs with.
  public static let enrolment = "sudo mokutil --import /var/lib/dkms/mok.pub"

  /// Loads it anew; virtual cameras that others made of it go.
  public static func reloading(_ number: Int) -> [String] {
    ["sudo modprobe -r v4l2loopback", "sudo modprobe v4l2loopback \(options(number))"]
  }

  /// The commands that make `/dev/videoN`, in their order. After `enrolment` the machine must start anew.
  public func commands(_ number: Int) -> [String] {
    switch presence {
    case .loaded(canAdd: true): return ["sudo v4l2loopback-ctl add -n turbocam -x 1 -b 2 /dev/video\(number)"]
    case .loaded(canAdd: false): return LoopbackModule.reloading(number)
    case .built: return enrolments + loading(number)
    case .notBuilt(let hasHeaders):
      let headers = hasHeaders ? [] : ["sudo apt-get install linux-headers-$(uname -r)"]
      return headers + ["sudo dkms autoinstall"] + enrolments + loading(number)
    case .missing:
      return ["sudo apt-get install v4l2loopback-dkms linux-headers-$(uname -r)"] + enrolments
        + loading(number)
    }
  }

  /// The same as a sentence's end.
  public func advice(_ number: Int) -> String {
    "make a virtual camera: " + commands(number).joined(separator: " && ")
      + (commands(number).contains(LoopbackModule.enrolment)
        ? " (Secure Boot is on: restart after mokutil)" : "")
  }

  /// Why there is none, for people.
  public var fact: String {
    switch presence {
    case .loaded: return "v4l2loopback is loaded, and has no device for it"
    case .built: return "v4l2loopback is not loaded"
    case .notBuilt: return "v4l2loopback is installed, but not built for the running kernel"
    case .missing: return "v4l2loopback is not installed"
    }
  }

  private func loading(_ number: Int) -> [String] {
    ["sudo modprobe v4l2loopback \(LoopbackModule.options(number))"]
  }
  private var enrolments: [String] { isSecureBoot ? [LoopbackModule.enrolment] : [] }
}
