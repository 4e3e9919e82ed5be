import Frames
import Glibc

extension FramePool {
  /// A free buffer. Where none may be dropped this waits for one; else it counts the miss and gives nil.
  func takeWaiting(_ waits: Bool, _ link: InputLink) -> Draft? {
    while true {
      if let draft = take() { return draft }
      guard waits, !link.stop.isSet, !link.mailbox.isClosed else {
        link.counters.starved.add(1, ordering: .relaxed)
        return nil
      }
      usleep(500)
    }
  }
}
