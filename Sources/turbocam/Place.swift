/// Where a picture comes from or goes to, as written on the command line.
enum Place {
  /// A file that has an end, or standard output: what it is given at any speed.
  static func isFile(_ spec: String) -> Bool {
    !spec.hasPrefix("/dev/") && !spec.contains("://") && spec != "camera" && spec != "test"
  }
}
