import Glibc

/// Calls `body` with shares of 0..<count, each on a thread of its own, as many as there are processors;
/// shares are of `atLeast` or more, and the last is the caller's. Where a thread cannot be had the caller
/// does its share.
func inParallel(_ count: Int, atLeast: Int, _ body: @Sendable (Range<Int>) -> Void) {
  let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
  let shares = max(1, min(processors, count / max(1, atLeast)))
  func share(_ index: Int) -> Range<Int> { count * index / shares..<count * (index + 1) / shares }
  withoutActuallyEscaping(body) { body in
    let threads = (0..<shares - 1).map { start(Share(range: share($0), body: body)) }
    body(share(shares - 1))
    for thread in threads.compactMap({ $0 }) { pthread_join(thread, nil) }
  }
}

private final class Share: Sendable {
  let range: Range<Int>
  let body: @Sendable (Range<Int>) -> Void
  init(range: Range<Int>, body: @escaping @Sendable (Range<Int>) -> Void) {
    (self.range, self.body) = (range, body)
  }
}

/// nil where the share is done already.
private func start(_ share: Share) -> pthread_t? {
  let held = Unmanaged.passRetained(share)
  var thread = pthread_t()
  let failure = pthread_create(
    &thread, nil,
    { argument in
      if let argument {
        let share = Unmanaged<Share>.fromOpaque(argument).takeRetainedValue()
        share.body(share.range)
      }
      return nil
    }, held.toOpaque())
  if failure == 0 { return thread }
  held.release()
  share.body(share.range)
  return nil
}
