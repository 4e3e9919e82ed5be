import Glibc

/// Times as the C library has them.
extension timespec {
  public init(nanoseconds: UInt64) {
    self.init(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
  }

  /// What a clock shows.
  public init(of clock: clockid_t) {
    self.init()
    clock_gettime(clock, &self)
  }

  public var nanoseconds: UInt64 { UInt64(tv_sec) * 1_000_000_000 + UInt64(tv_nsec) }

  public var seconds: Double { Double(tv_sec) + Double(tv_nsec) * 1e-9 }
}
