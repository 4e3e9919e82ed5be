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

  /// Opens the camera that is meant. Gives also what a person should know where that is another than the first.
  /// Throws what is the matter with it.
  func open() throws -> (opened: CaptureStream, notice: String?) {
    switch choice {
    case .path(let path): return (try open(path), nil)
    case .first: return try Cameras.survey(except: avoiding).openFirst { try open($0.path) }
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
    let survey = Cameras.survey(except: avoiding)
    if let found = firstOpen(otherNodes(lost, survey)) { return found }
    if let firstError { throw firstError }
    if let denied = survey.denied.first(where: { $0.path == lost.path }) { throw denied.error }
    return nil
  }

  /// The nodes at the path that was asked for and at the last one, where they still are the lost camera's. Hardware
  /// with several nodes has the same name and plug at all of them, and a link leads to whichever number it has now.
  private func usualNodes(_ lost: CameraIdentity) -> [CameraNode] {
    [askedPath, lost.path].compactMap { $0.flatMap(node(at:)) }.filter(lost.isSame)
  }

  private func otherNodes(_ lost: CameraIdentity, _ survey: CameraSurvey) -> [CameraNode] {
    let nodes = survey.nodes.filter { $0.capability.isCapture }
    let familiar = nodes.filter(lost.isSame) + nodes.filter(lost.isLike)
    if let askedPath { return familiar + [askedPath].compactMap(node(at:)) }
    // Not a virtual camera, which is none that was lost.
    return familiar + survey.cameras.filter { !$0.capability.isLoopback }
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
    guard let node = try? CameraNode(opening: path), node.capability.isCapture else { return nil }
    return node
  }

  /// What `device`, which is open, is to be known by.
  func identity(of device: VideoDevice) -> CameraIdentity {
    CameraIdentity(device, among: Cameras.survey(except: avoiding).nodes)
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
