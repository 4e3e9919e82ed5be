/// What people are told of the settings in force: a prompt that was cut, words that the model does not know.
///
/// A hand that types makes other settings with every letter. So what is new is told once it has stood for a while, and
/// what is no longer so is taken back at once.
public struct SettingsNews: Sendable {
  private var told: [String] = []
  private var waiting: [String] = []
  /// When `waiting` has stood long enough.
  private var due: UInt64 = 0

  public init() {}

  /// `news` is all there is to tell of the settings since `now`; it is told after `pause` nanoseconds. Gives what was
  /// told and is no longer so.
  public mutating func hear(_ news: [String], pause: UInt64, now: UInt64) -> [String] {
    let stale = told.filter { !news.contains($0) }
    told.removeAll(where: stale.contains)
    let fresh = news.filter { !told.contains($0) }
    if fresh != waiting { (waiting, due) = (fresh, now + pause) }
    return stale
  }

  /// What is to be told by now; each once.
  public mutating func take(now: UInt64) -> [String] {
    guard !waiting.isEmpty, now >= due else { return [] }
    defer { waiting = [] }
    told += waiting
    return waiting
  }
}
