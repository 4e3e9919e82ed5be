/// Where frames go. `run` blocks on the output's own thread, takes from `mailbox` until it is closed and
/// empty, then finishes (a recorder writes its index).
public protocol Output: AnyObject, Sendable {
  var label: String { get }
  var mailbox: Mailbox { get }
  /// Opens device, socket or file, so that a wrong sink is refused before any work starts.
  func open() throws
  func run() throws
}
