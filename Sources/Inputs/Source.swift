import Base
import Frames

/// Turns what was asked for into an input.
public enum Source {
  /// Makes the input that `spec` names: `/dev/videoN`, `camera`, `test`, an address, or a file's path.
  ///
  /// Cameras and files are opened here, so that what cannot work is refused before work starts; addresses are
  /// called later and as often as needed. Throws `InputError`.
  public static func make(_ spec: String, options: SourceOptions) throws -> any Input {
    switch spec {
    case "":
      throw InputError(.usage, "choosing an input", "its name is empty", remedy: forms)
    case "test": return try TestPattern(options: options)
    case "camera": return try Camera(.first, options)
    case "-":
      throw InputError(.usage, "choosing an input", "standard input cannot be read from", remedy: forms)
    default: break
    }
    if isDevice(spec) { return try Camera(.path(spec), options) }
    if let scheme = scheme(of: spec), !MediaPlace.schemes.contains(scheme) {
      throw InputError(
        .usage, "choosing an input", "addresses of the kind \(scheme):// are not known",
        remedy: "known are " + MediaPlace.schemes.map { $0 + "://" }.joined(separator: ", "))
    }
    return try Media(spec, options: options)
  }

  private static let forms =
    "an input is /dev/videoN, camera, test, a picture or video file, or an rtsp://, http:// or srt:// address"

  /// "ftp" of "ftp://host/file", nil for a path.
  private static func scheme(of spec: String) -> String? {
    guard let colon = spec.firstIndex(of: ":"), spec[colon...].hasPrefix("://") else { return nil }
    let name = spec[..<colon].lowercased()
    return !name.isEmpty && name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) ? name : nil
  }
}
