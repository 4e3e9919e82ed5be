import Frames
import Testing

@Suite struct NewsTests {
  @Test func newsGrowOld() {
    var news = News()
    #expect(news.current() == nil)
    news.tell("the prompt was cut", now: 1_000_000_000_000)
    #expect(news.current(now: 1_001_000_000_000) == "the prompt was cut")
    news.tell("the film ends too early", now: 1_050_000_000_000)
    #expect(news.current(now: 1_100_000_000_000) == "the film ends too early")
    #expect(news.current(now: 1_111_000_000_000) == nil)
    news.tell("the GPU is gone", now: 1_111_000_000_000)
    news.takeBack("the prompt was cut")
    #expect(news.current(now: 1_112_000_000_000) == "the GPU is gone")
    news.takeBack("the GPU is gone")
    #expect(news.current(now: 1_112_000_000_000) == nil)
  }
}
