import Testing

@testable import FUSE

@Suite("Whether the next request is watched for")
struct WatchTests {
  @Test("It is after one that came soon after the last answer, and for as long as they do")
  func quick() {
    var watch = Watch()
    watch.receive(at: 1_000_000)
    #expect(!watch.isWorthwhile)
    for answer in [2_000_000, 2_200_000] {
      watch.answer(at: answer)
      watch.receive(at: answer + 75_000)
      #expect(watch.isWorthwhile)
    }
  }

  @Test("It is not after one that came later, and is again once one comes soon")
  func slow() {
    var watch = Watch()
    let waits = [(1_000, true), (100_000, true), (100_001, false), (1_000_000_000, false), (0, true)]
    for (wait, isWorthwhile) in waits {
      watch.answer(at: 5_000_000)
      watch.receive(at: 5_000_000 + wait)
      #expect(watch.isWorthwhile == isWorthwhile)
    }
  }
}
