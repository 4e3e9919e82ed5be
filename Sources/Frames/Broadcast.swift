/// Gives each frame to every output's mailbox. The list is fixed before the first frame.
public final class Broadcast: Sendable {
  public let mailboxes: [Mailbox]

  public init(_ mailboxes: [Mailbox]) { self.mailboxes = mailboxes }

  /// Whether any output has somebody watching: where not, no inference is worth its while.
  public var isWanted: Bool { mailboxes.contains { $0.isWanted } }

  /// Stamps a frame and hands it to every output that has somebody watching. Gives its stamps.
  @discardableResult
  public func publish(_ frame: consuming Frame) -> Stamps {
    frame.stamps.pass(.published)
    for mailbox in mailboxes where mailbox.isWanted { mailbox.put(frame.share()) }
    return frame.stamps
  }

  public func close() { for mailbox in mailboxes { mailbox.close() } }
}
