import Glibc

/// Waits until something holds; false where it does not in so many seconds.
public func eventually(seconds: Int = 10, _ condition: () throws -> Bool) rethrows -> Bool {
  for _ in 0..<seconds * 1000 {
    if try condition() { return true }
    usleep(1000)
  }
  return try condition()
}
