import Base
import CV4L2
import Frames
import Glibc

/// An open V4L2 node; closed with the last reference.
final class VideoDevice {
  let path: String
  let fd: Int32
  let capability: VideoCapability

  /// Throws an `InputError` that says whether the node is missing, forbidden or no video device.
  init(path: String) throws {
    let attempt = "opening camera \(path)"
    let descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw VideoDevice.openError(path, errno) }
    guard let capability = VideoCapability(descriptor: descriptor) else {
      let number = errno
      close(descriptor)
      throw InputError(
        .wrongKind, attempt, "it is not a camera: VIDIOC_QUERYCAP says \(errorText(number))",
        remedy: "turbocam devices lists the cameras")
    }
    self.path = path
    self.capability = capability
    fd = descriptor
  }
  deinit { close(fd) }

  /// The kind of buffers it captures in.
  var captureType: UInt32 {
    capability.isMultiPlanar
      ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE.rawValue : V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
  }

  /// The same as `call` for what is asked of one buffer. `start`: where in it the picture starts.
  func call(_ request: UInt, _ buffer: inout v4l2_buffer, start: inout UInt32) -> Int32 {
    turbocam_buffer_ioctl(fd, request, &buffer, &start) == 0 ? 0 : errno
  }

  /// Calls the driver; gives 0 or the error number.
  func call<Argument>(_ request: UInt, _ argument: inout Argument) -> Int32 {
    withUnsafeMutableBytes(of: &argument) { turbocam_ioctl(fd, request, $0.baseAddress) == 0 ? 0 : errno }
  }

  private static func openError(_ path: String, _ number: Int32) -> InputError {
    let attempt = "opening camera \(path)"
    switch number {
    case ENOENT, ENODEV, ENXIO, ENOTDIR:
      return InputError(
        .missing, attempt, "there is no such device: \(errorText(number))",
        remedy: "plug it in; turbocam devices lists the cameras")
    case EACCES, EPERM:
      return InputError(
        .denied, attempt, errorText(number),
        remedy: "join the group that owns it: sudo usermod -aG video $USER, then log in again")
    case EISDIR, ENOTTY:
      return InputError(
        .wrongKind, attempt, "it is not a camera: \(errorText(number))",
        remedy: "turbocam devices lists the cameras")
    case EBUSY:
      return .busy(path, attempt, number)
    default:
      return InputError(.failed, attempt, errorText(number), remedy: "turbocam devices lists the cameras")
    }
  }
}

extension InputError {
  /// Somebody else has the camera at `path`.
  static func busy(_ path: String, _ attempt: String, _ number: Int32) -> InputError {
    let programs = openers(of: path).prefix(4).joined(separator: ", ")
    return InputError(
      .unavailable, attempt,
      "busy, another program is using it" + (programs.isEmpty ? "" : ", open in \(programs)")
        + ": \(errorText(number))",
      remedy: "end that program"
        + (programs.isEmpty ? " (sudo fuser -v \(path) names it)" : "") + " or choose another camera")
  }
}
