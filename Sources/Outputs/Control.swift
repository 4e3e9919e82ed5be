/// What the HTTP server asks of the program behind it. Called on the server's thread, so it answers at once.
public protocol Control: AnyObject, Sendable {
  /// One JSON object: settings, times, counters.
  func stateJSON() -> [UInt8]
  /// Changes any subset of the settings, all of them or none, and gives the state after it.
  func patch(_ json: [UInt8]) -> Result<[UInt8], ControlRefusal>
}

/// Why a patch was refused; shown to the person who sent it.
public struct ControlRefusal: Error, Sendable, CustomStringConvertible {
  public let reason: String
  public init(_ reason: String) { self.reason = reason }
  public var description: String { reason }
}
