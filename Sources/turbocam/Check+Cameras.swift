import Inputs
import Outputs

/// What `turbocam doctor` says of cameras and virtual cameras.
extension Check {
  private static let joinGroup = "sudo usermod -aG video $USER    # then log in again"

  static func camera(_ survey: CameraSurvey) -> Check {
    let denied = survey.denied.filter { !$0.isLoopback }
    let closed = denied.map { "\($0.label): \($0.error.fact)" }.joined(separator: ", ")
    guard let absence = survey.hardwareAbsence else {
      let first = survey.cameras[0].label
      return Check(
        name: "camera", isFound: true, fact: first + (closed.isEmpty ? "" : "; \(closed)"),
        remedy: closed.isEmpty ? "" : joinGroup)
    }
    if !denied.isEmpty { return Check(name: "camera", isFound: false, fact: closed, remedy: joinGroup) }
    guard absence.kind == .missing else {
      return Check(name: "camera", isFound: false, fact: absence.fact, remedy: relay)
    }
    let virtual = survey.cameras.map(\.label).joined(separator: ", ")
    return Check(
      name: "camera", isFound: false,
      fact: virtual.isEmpty
        ? "none: plug one in (until then the demo clip is played)" : "none but virtual ones: \(virtual)",
      remedy: "sudo modprobe uvcvideo; sudo dmesg | grep -i uvc    # where one is plugged in")
  }

  /// For cameras that only libcamera reads.
  private static let relay = """
    sudo apt-get install gstreamer1.0-libcamera gstreamer1.0-plugins-good gstreamer1.0-tools
    gst-launch-1.0 libcamerasrc ! videoconvert ! v4l2sink device=/dev/video20    # a v4l2loopback device
    turbocam run --input /dev/video20    # on Ubuntu the package v4l2-relayd makes such a device
    """

  static func virtualCamera(_ survey: CameraSurvey) -> Check {
    let name = "virtual camera"
    let devices = survey.nodes.filter(\.capability.isLoopback)
    // With exclusive_caps=1 it is either; without, always both.
    if let device = devices.first(where: { $0.capability.isCapture != $0.capability.isOutput }) {
      let use = device.capability.isCapture ? ", which a program writes to" : ""
      return Check(name: name, isFound: true, fact: device.label + use)
    }
    if let device = devices.first {
      return device.capability.isCapture
        ? Check(
          name: name, isFound: true,
          fact: "\(device.label), but without exclusive_caps=1: browsers do not list it",
          remedy: reloading(device.path))
        : Check(
          name: name, isFound: false, fact: "\(device.label) was left dead by a program that wrote to it",
          remedy: reloading(device.path))
    }
    if let node = survey.denied.first(where: \.isLoopback) {
      return Check(name: name, isFound: false, fact: "\(node.label): \(node.error.fact)", remedy: joinGroup)
    }
    let module = LoopbackModule()
    let commands = module.commands(10).map {
      $0 == LoopbackModule.enrolment ? "\($0)    # Secure Boot is on: enrol the key, restart" : $0
    }
    return Check(name: name, isFound: false, fact: module.fact, remedy: commands.joined(separator: "\n"))
  }

  private static func reloading(_ path: String) -> String {
    let number = Int(path.dropFirst("/dev/video".count)) ?? 10
    return LoopbackModule.reloading(number).joined(separator: "\n")
  }
}
