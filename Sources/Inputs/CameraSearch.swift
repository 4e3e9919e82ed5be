import Frames
import Glibc

/// Which camera is meant.
enum CameraChoice: Equatable, Sendable {
  case path(String)
  /// The first that captures.
  case first
}

/// Finds and opens cameras: at the start, and again after one went away.
struct CameraSearch {
  let choice: CameraChoice
  let wish: CaptureMode.Wish
  /// Virtual cameras that this program writes to. They are not even looked at: an open node counts as somebody
  /// who watches.
  let avoiding: Set<FileIdentity>

  /// Drivers under load refuse a call now and then that they take a moment later.
  private static let attempts = 3
  private static let pause: UInt32 = 100_000

  /// Opens the camera that is meant. Throws what is the matter with it.
  func open() throws -> CaptureStream {
    switch choice {
    case .path(let path): return try open(path)
    case .first: return try openFirst()
    }
  }

  private func open(_ path: String) throws -> CaptureStream {
    var attempt = 1
    while true {
      do {
        return try CaptureStream(VideoDevice(path: path), wish)
      } catch let error as InputError where error.kind == .failed && attempt < CameraSearch.attempts {
        attempt += 1
        usleep(CameraSearch.pause)
      }
    }
  }

  /// Cameras before virtual ones.
  private func openFirst() throws -> CaptureStream {
    let cameras = Cameras.nodes(except: avoiding).filter { $0.capability.isCapture }
    var firstError: (any Error)?
    for node in cameras.filter({ !$0.capability.isLoopback }) + cameras.filter(\.capability.isLoopback) {
      do { return try open(node.path) } catch { firstError = firstError ?? error }
    }
    if let firstError { throw firstError }
    throw InputError(
      .missing, "looking for a camera",
      "no node in /dev/video* captures video" + (avoiding.isEmpty ? "" : ", but for what is written to"),
      remedy: "plug a camera in, or use --input with a file, an address or test; turbocam doctor tells more")
  }

  /// The same camera again, wherever it is now: by name and plug, by name, or by the path that was asked for.
  /// nil where it is not there. Throws where it is there and does not open.
  func reopen(_ lost: CameraIdentity) throws -> CaptureStream? {
    let nodes = Cameras.nodes(except: avoiding).filter { $0.capability.isCapture }
    let same = nodes.filter { lost.isSame($0) } + nodes.filter { lost.isLike($0) }
    if let node = same.first { return try CaptureStream(VideoDevice(path: node.path), wish) }
    switch choice {
    case .path(let path):
      guard nodes.contains(where: { $0.path == path }) else { return nil }
      return try CaptureStream(VideoDevice(path: path), wish)
    case .first:
      // Not a virtual camera, which is none that was lost.
      guard let node = nodes.first(where: { !$0.capability.isLoopback }) else { return nil }
      return try CaptureStream(VideoDevice(path: node.path), wish)
    }
  }
}

/// What a camera is known by when its number has changed.
struct CameraIdentity: Equatable {
  let path: String
  let capability: VideoCapability

  init(_ device: VideoDevice) {
    path = device.path
    capability = device.capability
  }

  /// The same hardware at the same plug. Virtual cameras all look alike, so their path must agree too.
  func isSame(_ other: CameraNode) -> Bool {
    isLike(other) && other.capability.bus == capability.bus
  }

  /// The same hardware, perhaps at another plug.
  func isLike(_ other: CameraNode) -> Bool {
    other.capability.card == capability.card && other.capability.driver == capability.driver
      && (!capability.isLoopback || other.path == path)
  }
}

/// A node that answered.
struct CameraNode {
  let path: String
  let capability: VideoCapability
}

extension Cameras {
  /// All nodes that can be opened, by number.
  static func nodes(except avoided: Set<FileIdentity>) -> [CameraNode] {
    paths().filter { path in FileIdentity(path).map { !avoided.contains($0) } ?? true }.compactMap { path in
      (try? VideoDevice(path: path)).map { CameraNode(path: path, capability: $0.capability) }
    }
  }

  /// Whether anything but `avoided` captures.
  public static func canCapture(except avoided: Set<FileIdentity>) -> Bool {
    nodes(except: avoided).contains(where: \.capability.isCapture)
  }
}
