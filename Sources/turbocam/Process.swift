import Base
import Glibc

/// Facts about this process, read from /proc.
enum Process {
  /// Resident memory in bytes, 0 where /proc cannot be read.
  static var residentBytes: Int {
    guard let text = readSmallFile("/proc/self/statm") else { return 0 }
    let fields = text.split(separator: " ")
    guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
    return pages * sysconf(Int32(_SC_PAGESIZE))
  }

  /// The largest resident memory so far, in bytes.
  static var peakBytes: Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss * 1024
  }

  /// Processor time of all threads, in seconds.
  static var processorSeconds: Double { timespec(of: CLOCK_PROCESS_CPUTIME_ID).seconds }
}

func fileExists(_ path: String) -> Bool { access(path, R_OK) == 0 }
