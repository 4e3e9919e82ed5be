import Glibc

/// Waits until something holds; false where it does not in so many seconds.
public func eventually(seconds: Int = 20, _ condition: () throws -> Bool) rethrows -> Bool {
  let end = now() + seconds * 1_000_000_000
  while !(try condition()) {
    if now() > end { return false }
    usleep(1000)
  }
  return true
}

/// Nanoseconds of CLOCK_MONOTONIC.
private func now() -> Int {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}
