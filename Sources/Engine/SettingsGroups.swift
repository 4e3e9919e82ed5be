/// The settings program in groups of steps that depend on the same settings.
extension Plan {
  /// The settings that groups depend on, a group each. A group depends only on groups of fewer settings, which come
  /// first.
  public var settingsMasks: [UInt64] {
    Set(settings.map { masks[$0.index] }).sorted { ($0.nonzeroBitCount, $0) < ($1.nonzeroBitCount, $1) }
  }

  /// The steps of a group, in order.
  public func settings(of mask: UInt64) -> [Value] { settings.filter { masks[$0.index] == mask } }
}
