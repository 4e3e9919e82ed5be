import Base

/// What the text of an input on the command line names: decided here, once, for all who ask.
public enum InputSpec: Equatable, Sendable {
  /// `camera`: the first that captures.
  case firstCamera
  /// A camera's path, whether it is plugged in or not.
  case device(String)
  /// `test`: a moving pattern.
  case pattern
  /// A picture or video file's path, whether it is there or not.
  case file(String)
  /// A stream, or a film or picture on a server.
  case address(String)

  /// Schemes of addresses that libav is given.
  static let schemes = ["rtsp", "rtsps", "http", "https", "srt"]

  /// Refuses what can be no input, whatever there is on this machine.
  public init(_ text: String) throws(InputError) {
    switch text {
    case "": throw Self.refusal("its name is empty", remedy: Self.forms)
    case "-": throw Self.refusal("standard input cannot be read from", remedy: Self.forms)
    case "camera": self = .firstCamera
    case "test": self = .pattern
    case _ where isDevice(text): self = .device(text)
    default:
      guard let scheme = addressScheme(of: text) else {
        self = .file(text)
        return
      }
      guard Self.schemes.contains(scheme) else {
        throw Self.refusal(
          "addresses of the kind \(scheme):// are not known",
          remedy: "known are " + Self.schemes.map { $0 + "://" }.joined(separator: ", "))
      }
      self = .address(text)
    }
  }

  /// Whether it can be read at any speed, from its start to its end.
  public var isFile: Bool {
    if case .file = self { true } else { false }
  }

  /// Whether it may have an end, after which it can be played again.
  public var mayEnd: Bool {
    switch self {
    case .file, .address: true
    case .firstCamera, .device, .pattern: false
    }
  }

  /// Of a file or a device that was named.
  public var path: String? {
    switch self {
    case .file(let path), .device(let path): path
    case .firstCamera, .pattern, .address: nil
    }
  }

  private static let forms =
    "an input is /dev/videoN, camera, test, a picture or video file, or an rtsp://, http:// or srt:// address"

  private static func refusal(_ fact: String, remedy: String) -> InputError {
    InputError(.usage, "choosing an input", fact, remedy: remedy)
  }
}

extension InputSpec: CustomStringConvertible {
  /// As it was given, but without the secrets of an address.
  public var description: String {
    switch self {
    case .firstCamera: "camera"
    case .pattern: "test"
    case .device(let path), .file(let path): path
    case .address(let address): MediaPlace(address: address).description
    }
  }
}
