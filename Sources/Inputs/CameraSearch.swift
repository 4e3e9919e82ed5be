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

  /// The same camera again, wherever it is now: at its path, by name and plug, by name at a new plug, else whatever
  /// is at the path that was asked for. nil where it is not there. Throws where it is there and does not open.
  func reopen(_ lost: CameraIdentity) throws -> CaptureStream? {
    var firstError: (any Error)?
    var tried: Set<FileIdentity?> = []
    func firstOpen(_ nodes: [CameraNode]) -> CaptureStream? {
      for node in nodes where tried.insert(FileIdentity(node.path)).inserted {
        do { return try CaptureStream(VideoDevice(path: node.path), wish) } catch {
          firstError = firstError ?? error
        }
      }
      return nil
    }
    if let found = firstOpen(usualNodes(lost)) { return found }
    // Somebody has it. Its other nodes show something else: infrared, or depth.
    if let error = firstError as? InputError, error.kind == .unavailable { throw error }
    if let found = firstOpen(otherNodes(lost)) { return found }
    if let firstError { throw firstError }
    return nil
  }

  /// The nodes at the path that was asked for and at the last one, where they still are the lost camera's. Hardware
  /// with several nodes has the same name and plug at all of them, and a link leads to whichever number it has now.
  private func usualNodes(_ lost: CameraIdentity) -> [CameraNode] {
    [askedPath, lost.path].compactMap { $0.flatMap(node(at:)) }.filter(lost.isSame)
  }

  private func otherNodes(_ lost: CameraIdentity) -> [CameraNode] {
    let nodes = Cameras.nodes(except: avoiding).filter { $0.capability.isCapture }
    let familiar = nodes.filter(lost.isSame) + nodes.filter(lost.isLike)
    if let askedPath { return familiar + [askedPath].compactMap(node(at:)) }
    // Not a virtual camera, which is none that was lost.
    return familiar + nodes.filter { !$0.capability.isLoopback }
  }

  private var askedPath: String? {
    switch choice {
    case .path(let path): return path
    case .first: return nil
    }
  }

  /// What captures at a path, nil where nothing does or this program writes to it.
  private func node(at path: String) -> CameraNode? {
    if let place = FileIdentity(path), avoiding.contains(place) { return nil }
    return CameraNode(path).flatMap { $0.capability.isCapture ? $0 : nil }
  }

  /// What `device`, which is open, is to be known by.
  func identity(of device: VideoDevice) -> CameraIdentity {
    CameraIdentity(device, among: Cameras.nodes(except: avoiding))
  }
}

/// What a camera is known by when its number has changed.
struct CameraIdentity {
  let path: String
  private let place: FileIdentity?
  private let capability: VideoCapability
  /// Plugs of other cameras: what is there is not the one that was moved.
  private let takenBuses: Set<String>

  /// `nodes`: all that are there.
  init(_ device: VideoDevice, among nodes: [CameraNode]) {
    path = device.path
    place = FileIdentity(descriptor: device.fd)
    capability = device.capability
    takenBuses = Set(nodes.map(\.capability.bus)).subtracting([device.capability.bus])
  }

  /// The same hardware at the same plug. Virtual cameras all look alike, so their node must agree too.
  func isSame(_ other: CameraNode) -> Bool {
    isModel(other) && other.capability.bus == capability.bus
      && (!capability.isLoopback || FileIdentity(other.path) == place)
  }

  /// The same hardware at a plug that was free before.
  func isLike(_ other: CameraNode) -> Bool {
    isModel(other) && !capability.isLoopback && !takenBuses.contains(other.capability.bus)
  }

  private func isModel(_ other: CameraNode) -> Bool {
    other.capability.card == capability.card && other.capability.driver == capability.driver
  }
}

/// A node that answered.
struct CameraNode {
  let path: String
  let capability: VideoCapability

  init?(_ path: String) {
    guard let device = try? VideoDevice(path: path) else { return nil }
    self.path = path
    capability = device.capability
  }
}

extension Cameras {
  /// All nodes that can be opened, by number.
  static func nodes(except avoided: Set<FileIdentity>) -> [CameraNode] {
    paths().filter { path in FileIdentity(path).map { !avoided.contains($0) } ?? true }
      .compactMap(CameraNode.init)
  }

  /// Whether anything but `avoided` captures.
  public static func canCapture(except avoided: Set<FileIdentity>) -> Bool {
    nodes(except: avoided).contains(where: \.capability.isCapture)
  }
}
