/// Where frames come from. `run` blocks on the stage's own thread until the source ends for good or `stop`.
public protocol Input: AnyObject, Sendable {
  /// For people: "/dev/video0 (Integrated Camera)".
  var label: String { get }
  /// Puts frames in `link.mailbox`, tells `link.status` what it is doing, and returns when a file has ended
  /// or `link.stop` is set. A camera that goes away is waited for; it throws only what cannot mend itself.
  func run(_ link: InputLink) throws
}

/// What an input needs from the spine.
public struct InputLink: Sendable {
  public let mailbox: Mailbox
  public let status: InputStatus
  public let counters: Counters
  public let stop: StopFlag
  public init(mailbox: Mailbox, status: InputStatus, counters: Counters, stop: StopFlag) {
    self.mailbox = mailbox
    self.status = status
    self.counters = counters
    self.stop = stop
  }
}
