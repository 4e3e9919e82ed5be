import CKernels
import Glibc
import Testing

/// Processors that control groups allow, from files as the kernel shows them.
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

  @Test(arguments: trees) func theLeastLimitHolds(tree: Tree) throws {
    var template = Array("/tmp/turbocam-quota-XXXXXX".utf8CString)
    let root = String(cString: try #require(mkdtemp(&template)))
    // Files before the folders that they lie in.
    var made: [String] = []
    defer { for path in made.reversed() { remove(path) } }
    made.append(root)
    func write(_ name: String, _ text: String) throws {
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
    try write("groups", tree.groups)
    for (name, text) in tree.files { try write(name, text) }
    #expect(tc_processor_quota(root + "/groups", root) == tree.expected)
    #expect(tc_processor_quota(root + "/absent", root) == 0)
  }

  @Test func thereIsAtLeastOneThread() {
    #expect(tc_available_threads() >= 1 && tc_available_threads() <= sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  }
}
