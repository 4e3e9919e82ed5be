import Filter
import Testing

@Suite struct SettingsNewsTests {
  /// Of a word that is being typed only the last form is told, once.
  @Test func whatIsTypedIsToldWhenTheHandRests() {
    var news = SettingsNews()
    #expect(news.hear(["no drag"], pause: 10, now: 100) == [])
    #expect(news.take(now: 109) == [])
    #expect(news.hear(["no dragon"], pause: 10, now: 109) == [])
    #expect(news.take(now: 118) == [])
    // Another setting, of which there is the same to tell.
    #expect(news.hear(["no dragon"], pause: 10, now: 118) == [])
    #expect(news.take(now: 119) == ["no dragon"])
    #expect(news.hear(["no dragon"], pause: 10, now: 120) == [])
    #expect(news.take(now: 200) == [])
  }

  @Test func whatIsNoLongerSoIsTakenBackAtOnce() {
    var news = SettingsNews()
    #expect(news.hear(["cut", "no cat"], pause: 0, now: 5) == [])
    #expect(news.take(now: 5) == ["cut", "no cat"])
    #expect(news.hear(["cut", "no dog"], pause: 10, now: 6) == ["no cat"])
    #expect(news.hear(["cut"], pause: 10, now: 7) == [])
    #expect(news.take(now: 100) == [])
    // What was taken back is told again where it comes again.
    #expect(news.hear([], pause: 10, now: 101) == ["cut"])
    #expect(news.hear(["cut"], pause: 10, now: 102) == [])
    #expect(news.take(now: 112) == ["cut"])
  }
}
