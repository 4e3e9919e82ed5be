import CSystem
import Glibc
import Testing

/// Processors and memory that control groups allow, from files as the kernel shows them.
struct QuotaTests {
  struct Tree: Sendable {
    var groups: String
    /// Contents by path below the place where groups are mounted.
    var files: [String: String]
    var expected: Int32
  }

  static let trees: [Tree] = [
    Tree(groups: "0::/\n", files: [:], expected: 0),
    Tree(groups: "0::/\n", files: ["cpu.max": "max 100000\n"], expected: 0),
    // In a container, whose own group is the root.
    Tree(groups: "0::/\n", files: ["cpu.max": "150000 100000\n"], expected: 2),
    Tree(groups: "0::/system.slice/docker-1\n", files: ["cpu.max": "300000 100000\n"], expected: 3),
    // The least of a group and those around it.
    Tree(
      groups: "0::/a/b\n", files: ["a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"], expected: 2
    ),
    Tree(
      groups: "0::/a/b\n", files: ["a/cpu.max": "900000 100000\n", "a/b/cpu.max": "50000 100000\n"],
      expected: 1),
    Tree(
      groups: "9:cpuset:/\n5:cpu,cpuacct:/docker/1\n1:name=systemd:/\n",
      files: ["cpu/docker/1/cpu.cfs_quota_us": "400000\n", "cpu/docker/1/cpu.cfs_period_us": "100000\n"],
      expected: 4),
    Tree(
      groups: "5:cpuacct,cpu:/docker/1\n",
      files: ["cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"], expected: 3),
    Tree(
      groups: "5:cpu:/\n", files: ["cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"],
      expected: 0),
    // Another controller's, and what is no list of groups.
    Tree(
      groups: "5:cpuset:/\n",
      files: ["cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"],
      expected: 0),
    Tree(groups: "nothing\n\n::\n0::/x\n", files: ["cpu.max": "words\n", "x/cpu.max": "7"], expected: 0),
  ]

  static let megabyte: Int64 = 1 << 20
  static let system =
    "MemTotal: 9216 kB\nMemFree: 17 kB\nMemAvailable: 4096 kB\nSwapTotal: 9 kB\nSwapFree: 1024 kB\n"

  static let twoOfSwap = "MemAvailable: 4096 kB\nSwapFree: 2048 kB\n"

  /// `expected` in megabytes; nil where nothing is known.
  struct Room: Sendable {
    var files: [String: String]
    var expected: Int64?
  }

  static let rooms: [Room] = [
    Room(files: [:], expected: nil),
    Room(files: ["meminfo": "nothing\nMemAvailable: -1 kB\nMemAvailable\n"], expected: nil),
    Room(files: ["meminfo": system], expected: 5),
    Room(files: ["meminfo": system, "groups": "0::/a\n", "a/memory.max": "max\n"], expected: 5),
    // Less what is used, but for files.
    Room(
      files: [
        "meminfo": system, "groups": "0::/a\n", "a/memory.max": "6291456", "a/memory.current": "5242880",
        "a/memory.stat": "anon 3145728\nactive_file 1048576\ninactive_file 1048576\n",
      ], expected: 3 + 1),
    Room(
      files: [
        "meminfo": system, "groups": "0::/a\n", "memory.max": "1048576", "memory.current": "1048576",
        "a/memory.max": "max",
      ], expected: 0 + 1),
    Room(
      files: [
        "meminfo": system, "groups": "4:memory:/a\n0::/\n", "memory/a/memory.limit_in_bytes": "3145728",
        "memory/a/memory.usage_in_bytes": "2097152",
        "memory/a/memory.stat": "active_file 1\ntotal_active_file 1048576\n",
      ], expected: 2 + 1),
    Room(
      files: [
        "meminfo": system, "groups": "4:memory:/\n", "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/memory.usage_in_bytes": "4096",
      ], expected: 5),
    // Of swap no more than the group may have.
    Room(
      files: [
        "meminfo": system, "groups": "0::/a\n", "a/memory.max": "2097152", "a/memory.current": "0",
        "a/memory.swap.max": "0", "a/memory.swap.current": "0",
      ], expected: 2),
    Room(
      files: [
        "meminfo": twoOfSwap, "groups": "0::/a/b\n", "a/memory.swap.max": "2097152",
        "a/memory.swap.current": "1048576", "a/b/memory.swap.max": "max", "a/b/memory.swap.current": "7",
      ], expected: 4 + 1),
    Room(
      files: [
        "meminfo": system, "groups": "0::/\n", "memory.swap.max": "1048576", "memory.swap.current": "2097152",
      ], expected: 4),
    // Version 1 counts both together.
    Room(
      files: [
        "meminfo": twoOfSwap, "groups": "4:memory:/a\n", "memory/a/memory.limit_in_bytes": "3145728",
        "memory/a/memory.usage_in_bytes": "2097152", "memory/a/memory.memsw.limit_in_bytes": "5242880",
        "memory/a/memory.memsw.usage_in_bytes": "3145728",
      ], expected: 1 + 1),
    Room(
      files: [
        "meminfo": system, "groups": "4:memory:/a\n", "memory/a/memory.limit_in_bytes": "3145728",
        "memory/a/memory.usage_in_bytes": "1048576", "memory/a/memory.memsw.limit_in_bytes": "3145728",
        "memory/a/memory.memsw.usage_in_bytes": "1048576",
      ], expected: 2),
    Room(
      files: ["meminfo": "SwapFree: 9223372036854775807 kB\n", "groups": "0::/\n", "memory.max": "1 word"],
      expected: nil),
  ]

  /// A folder with the files while `body` runs.
  private func withFiles(_ files: [String: String], _ body: (String) throws -> Void) throws {
    var template = Array("/tmp/turbocam-quota-XXXXXX".utf8CString)
    let root = String(cString: try #require(mkdtemp(&template)))
    // Folders before the files that lie in them.
    var made = [root]
    defer { for path in made.reversed() { remove(path) } }
    for (name, text) in files {
      let parts = name.split(separator: "/")
      for count in 1..<max(parts.count, 1) {
        let folder = "\(root)/" + parts[..<count].joined(separator: "/")
        if mkdir(folder, 0o755) == 0 { made.append(folder) }
      }
      let file = try #require(fopen("\(root)/\(name)", "w"))
      fputs(text, file)
      fclose(file)
      made.append("\(root)/\(name)")
    }
    try body(root)
  }

  @Test(arguments: trees) func theLeastLimitHolds(tree: Tree) throws {
    try withFiles(tree.files.merging(["groups": tree.groups]) { $1 }) { root in
      #expect(turbocam_processor_quota(root + "/groups", root) == tree.expected)
      #expect(turbocam_processor_quota(root + "/absent", root) == 0)
    }
  }

  @Test(arguments: rooms) func memoryIsWhatIsLeft(room: Room) throws {
    try withFiles(room.files) { root in
      let free = turbocam_free_memory(root + "/meminfo", root + "/groups", root)
      #expect(free == room.expected.map { $0 * Self.megabyte } ?? .max)
    }
  }

  static let large = "MemTotal: 8192 kB\nMemAvailable: 1024 kB\nSwapTotal: 4096 kB\nSwapFree: 0 kB\n"

  static let wholes: [Room] = [
    Room(files: [:], expected: nil),
    Room(files: ["meminfo": large], expected: 8 + 4),
    // However much is used.
    Room(
      files: [
        "meminfo": large, "groups": "0::/a\n", "a/memory.max": "6291456", "a/memory.current": "6291456",
        "a/memory.swap.max": "1048576", "a/memory.swap.current": "1048576",
      ], expected: 6 + 1),
    Room(
      files: [
        "meminfo": large, "groups": "4:memory:/a\n", "memory/a/memory.limit_in_bytes": "3145728",
        "memory/a/memory.usage_in_bytes": "3145728", "memory/a/memory.memsw.limit_in_bytes": "5242880",
        "memory/a/memory.memsw.usage_in_bytes": "5242880",
      ], expected: 3 + 2),
    Room(
      files: [
        "meminfo": large, "groups": "0::/\n", "memory.max": "max", "memory.current": "1",
        "memory.swap.max": "0", "memory.swap.current": "0",
      ], expected: 8),
  ]

  @Test(arguments: wholes) func wholeMemoryIsWhatThereIsAtMost(room: Room) throws {
    try withFiles(room.files) { root in
      let whole = turbocam_whole_memory(root + "/meminfo", root + "/groups", root)
      #expect(whole == room.expected.map { $0 * Self.megabyte } ?? .max)
    }
  }

  @Test func thisSystemHasMemory() {
    let free = turbocam_free_memory("/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup")
    #expect(free > Self.megabyte && free < 1 << 50)
    #expect(turbocam_whole_memory("/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup") >= free)
  }

  /// Threads of a core count once. Where the system does not tell of one, all count.
  @Test func coresAreCountedOnce() throws {
    let files = [
      "cpu0/topology/core_cpus_list": "0,4\n", "cpu4/topology/core_cpus_list": "0,4\n",
      "cpu1/topology/core_cpus_list": "1,5\n", "cpu2/topology/thread_siblings_list": "2-3\n",
      "cpu3/topology/thread_siblings_list": "2-3\n", "cpu6/topology/core_cpus_list": "6\n",
      "cpu7/topology/core_cpus_list": "words\n",
    ]
    try withFiles(files) { root in
      func cores(_ processors: [Int32]) -> Int32 { turbocam_cores(root, processors, Int32(processors.count)) }
      #expect(cores([0, 1, 2, 3, 4, 6]) == 4)
      // What else is of its core is not allowed.
      #expect(cores([4]) == 1)
      #expect(cores([0, 4, 7]) == 3)
      #expect(cores([9, 0, 4]) == 3)
    }
  }

  @Test func thereIsAtLeastOneThread() {
    #expect(
      turbocam_available_threads() >= 1
        && turbocam_available_threads() <= sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  }
}
