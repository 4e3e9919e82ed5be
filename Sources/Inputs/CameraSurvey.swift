import Frames

/// What a look at all /dev/video* nodes found, by number.
public struct CameraSurvey: Equatable, Sendable {
  /// What answered, whether it captures or not.
  public let nodes: [CameraNode]
  public let denied: [DeniedNode]
  /// Whether there are others that were not looked at, since this program writes to them.
  public let leavesOut: Bool

  public init(nodes: [CameraNode], denied: [DeniedNode] = [], leavesOut: Bool = false) {
    self.nodes = nodes
    self.denied = denied
    self.leavesOut = leavesOut
  }

  /// What `camera` may mean, in the order in which it is tried: hardware that can be read, then virtual cameras.
  public var cameras: [CameraNode] {
    let readable = nodes.filter { $0.capability.isCapture && $0.obstacle == nil }
    return readable.filter { !$0.capability.isLoopback } + readable.filter(\.capability.isLoopback)
  }

  /// Why there is no camera to try, nil where there is one.
  public var absence: InputError? { cameras.isEmpty ? hardwareAbsence : nil }

  /// Why there is no camera, virtual ones aside, nil where there is one.
  public var hardwareAbsence: InputError? {
    if cameras.contains(where: { !$0.capability.isLoopback }) { return nil }
    if let node = denied.first(where: { !$0.isLoopback }) { return node.error }
    if let node = nodes.first(where: { $0.obstacle != nil }) {
      return InputError(
        .unavailable, "looking for a camera", "\(node.label): \(node.obstacle ?? "")",
        remedy: CameraNode.relay)
    }
    return InputError(
      .missing, "looking for a camera",
      "no node in /dev/video* captures video" + (leavesOut ? ", but for what is written to" : ""),
      remedy: "plug a camera in, or use --input with a file, an address or test; turbocam doctor tells more")
  }

  /// Opens the first of `cameras` that `open` opens. Another node of hardware that somebody has is not taken for it: it
  /// shows something else, infrared or depth. Gives also what a person should know, where it is not the first one's
  /// hardware. Throws what was the matter with the first.
  public func openFirst<Opened>(
    _ open: (CameraNode) throws -> Opened
  ) throws -> (opened: Opened, notice: String?) {
    if let absence { throw absence }
    var first: (node: CameraNode, error: any Error)?
    var busy: [CameraNode] = []
    for node in cameras where !busy.contains(where: node.isSameHardware) {
      do {
        let opened = try open(node)
        return (opened, first.flatMap { CameraSurvey.notice(of: node, for: $0.node, $0.error) })
      } catch {
        if (error as? InputError)?.kind == .unavailable { busy.append(node) }
        first = first ?? (node, error)
      }
    }
    // There was one at least, and none opened.
    throw first!.error
  }

  private static func notice(of taken: CameraNode, for other: CameraNode, _ error: any Error) -> String? {
    if taken.isSameHardware(other) { return nil }
    let fact = (error as? InputError)?.fact ?? "\(error)"
    return "camera \(other.label): \(fact); taking \(taken.label) in its place"
  }
}

extension CameraNode {
  /// Plugged in at the same place: a camera may have several nodes.
  fileprivate func isSameHardware(_ other: CameraNode) -> Bool {
    !capability.bus.isEmpty && capability.bus == other.capability.bus
      && capability.isLoopback == other.capability.isLoopback
  }
}

extension Cameras {
  /// Looks at all nodes but `avoided`, which are not even opened: an open node counts as somebody who watches.
  public static func survey(except avoided: Set<FileIdentity> = []) -> CameraSurvey {
    var nodes: [CameraNode] = []
    var denied: [DeniedNode] = []
    for path in paths() where FileIdentity(path).map({ !avoided.contains($0) }) ?? true {
      do { nodes.append(try CameraNode(opening: path)) } catch let error as InputError {
        if error.kind == .denied { denied.append(DeniedNode(path: path, error: error)) }
      } catch {}
    }
    return CameraSurvey(nodes: nodes, denied: denied, leavesOut: !avoided.isEmpty)
  }
}
