import Base
import Frames

/// What all outputs may need to know.
public struct SinkOptions: Sendable {
  /// Every HTTP request has to bring it; needed for addresses other than this machine's.
  public var token: String?
  /// The shell's words that make a token nobody guesses, for remedies.
  public static let tokenCommand = "export TURBOCAM_TOKEN=$(openssl rand -hex 16)"
  /// Answers /state and PATCH /settings.
  public var control: (any Control)?
  public var statistics: Statistics?
  /// Gets the number of web viewers.
  public var counters: Counters?
  /// Frames a second of a virtual camera.
  public var fps = 30
  /// Size of a virtual camera; pictures of another shape are fitted into it.
  public var width = 1280
  public var height = 720
  /// Of JPEGs, 1 to 100; nil: what suits each output.
  public var quality: Int?
  /// What sides a virtual camera may have, even ones only.
  public static let cameraSides = 16...8192
  /// `.every` where a file is turned into a file and no frame may be lost.
  public var policy = Mailbox.Policy.newest
  /// The film whose pictures come, where its sound shall go into recordings.
  public var sound: String?
  /// Takes warnings for people.
  public var tell: (@Sendable (String) -> Void)?

  public init() {}
}

/// Chooses the output that a sink's text stands for.
public enum Sink {
  /// Endings of files, as `make` knows them.
  public static let endings = ["mp4", "mkv", "mjpeg", "jpg", "jpeg", "png"]

  /// `/dev/videoN`, `http://HOST:PORT`, a file by its ending, or `-`. Opens nothing yet.
  public static func make(_ spec: String, options: SinkOptions = SinkOptions()) throws -> any Output {
    if spec == "-" { return try MotionJPEG(.standardOutput, options: options) }
    if let scheme = addressScheme(of: spec) {
      if scheme == "http" { return try HTTPServer(HTTPAddress(parsing: spec), options: options) }
      throw OutputError(
        .usage, attempt(spec), "\(scheme):// is not a sink",
        remedy: scheme == "https"
          ? "serve http://127.0.0.1:8080 and put a TLS proxy before it" : "known: \(known)")
    }
    if isDevice(spec) {
      return try LoopbackCamera(path: spec, options: options)
    }
    let ending = ending(of: spec)
    switch ending {
    case "mp4", "mkv": return Recorder(path: spec, container: ending, options: options)
    case "mjpeg": return try MotionJPEG(.file(spec), options: options)
    case "jpg", "jpeg", "png": return try StillWriter(path: spec, options: options)
    default: throw refusal(spec, ending)
    }
  }

  /// The ending of a path in lower case, "" where it has none.
  public static func ending(of path: String) -> String {
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "" }
    return name[name.index(after: dot)...].lowercased()
  }

  private static let known =
    "/dev/videoN, http://HOST:PORT, a file ending in "
    + endings.map { ".\($0)" }.joined(separator: ", ") + ", or - for standard output"

  private static func attempt(_ spec: String) -> String { "reading the sink '\(spec)'" }

  private static func refusal(_ spec: String, _ ending: String) -> OutputError {
    guard !spec.isEmpty else {
      return OutputError(.usage, attempt(spec), "it is empty", remedy: "known: \(known)")
    }
    guard !ending.isEmpty, ending.utf8.count <= 16 else {
      return OutputError(
        .usage, attempt(spec), "it has no ending that says what to write", remedy: "known: \(known)")
    }
    let nearest = endings.min { editDistance($0, ending) < editDistance($1, ending) }!
    let base = spec.dropLast(ending.count)
    let isNear = editDistance(nearest, ending) <= 2
    return OutputError(
      .usage, attempt(spec), "files ending in .\(ending) are not written",
      remedy: (isNear ? "did you mean \(base)\(nearest)? " : "") + "known: \(known)")
  }
}
