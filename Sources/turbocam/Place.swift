import Base
import Frames
import Glibc
import Inputs

/// Where pictures go to, as written on the command line, and where they come from beside that.
enum Place {
  /// Whether an output is a file or standard output: it can be written at any speed.
  static func isFile(_ output: String) -> Bool { !isDevice(output) && addressScheme(of: output) == nil }

  /// Refuses to write over what is still being read, and to write two outputs into one file or device, where
  /// their bytes would mix. An address is left to its server, which has a port once.
  static func checkApart(input: InputSpec?, _ outputs: [String], _ arguments: Arguments) throws(UsageError) {
    let source = input?.path.flatMap { FileIdentity($0) }
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

  private static func fileOrDevice(_ output: String) -> FileIdentity? {
    addressScheme(of: output) == nil ? FileIdentity(output) : nil
  }
}
