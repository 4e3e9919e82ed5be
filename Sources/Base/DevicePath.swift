import Glibc

/// Whether `path` means a device that is captured from or written to, such as a camera, not a file.
///
/// What is named as a camera is one whether it is plugged in or not. Anything else is what it leads to: a
/// link outside /dev may lead to a camera, and not all that is in /dev is a device.
public func isDevice(_ path: String) -> Bool {
  if path.hasPrefix("/dev/video") || path.hasPrefix("/dev/v4l/") { return true }
  var status = stat()
  return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFCHR
}
