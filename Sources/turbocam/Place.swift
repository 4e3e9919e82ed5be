import Base
import Frames
import Glibc

/// Where a picture comes from or goes to, as written on the command line.
enum Place {
  /// A file or standard output: it can be read or written at any speed.
  static func isFile(_ spec: String) -> Bool {
    !isDevice(spec) && !spec.contains("://") && spec != "camera" && spec != "test"
  }

  /// Refuses to write over what is still being read, and to write two outputs into one file or device, where
  /// their bytes would mix. An address is left to its server, which has a port once.
  static func checkApart(input: String?, _ outputs: [String], _ arguments: Arguments) throws(UsageError) {
    let source = input.flatMap { $0 == "camera" || $0 == "test" ? nil : fileOrDevice($0) }
    var taken: [FileIdentity: String] = [:]
    for output in outputs {
      guard let place = output == "-" ? FileIdentity(descriptor: STDOUT_FILENO) : fileOrDevice(output) else {
        continue
      }
      if let input, place == source {
        throw arguments.fail("--output \(output) would write over --input \(input) while it is read")
      }
      if let other = taken.updateValue(output, forKey: place) {
        throw arguments.fail("--output \(other) and --output \(output) are the same place")
      }
    }
  }

  /// The devices among `outputs`: no input is to be chosen from them, or frames would go round in a circle.
  static func devices(_ outputs: [String]) -> Set<FileIdentity> {
    Set(
      outputs.compactMap(fileOrDevice).filter {
        if case .device = $0 { true } else { false }
      })
  }

  private static func fileOrDevice(_ spec: String) -> FileIdentity? {
    spec.contains("://") ? nil : FileIdentity(spec)
  }
}
