import Testing

@testable import FUSE
@testable import Linux

@Suite("Whether the next request is watched for")
struct WatchTests {
  private var watch = Watch()

  /// An answer, and a request that comes so many nanoseconds after it; true if the next one will be watched for.
  private mutating func isWorthwhile(after wait: Int) -> Bool {
    watch.answer(at: 5_000_000)
    watch.receive(at: 5_000_000 + wait)
    return watch.isWorthwhile
  }

  @Test("It is not after the first one, and is for as long as they come soon after the last answer")
  mutating func quick() {
    watch.receive(at: 1_000_000)
    #expect(!watch.isWorthwhile)
    for wait in [75_000, 1000, 0, 100_000] { #expect(isWorthwhile(after: wait), "\(wait)") }
  }

  @Test("It is not for one that sends requests now and then")
  mutating func slow() {
    for wait in [100_001, 1_000_000_000, 200_000] { #expect(!isWorthwhile(after: wait), "\(wait)") }
    #expect(isWorthwhile(after: 0))
  }

  @Test("After a watch in vain twice as many requests as the last time are not watched for, up to 64")
  mutating func inVain() {
    #expect(isWorthwhile(after: 1000))
    for pause in [2, 4, 8, 16, 32, 64, 64] {
      #expect(!isWorthwhile(after: 200_000))
      for _ in 1..<pause { #expect(!isWorthwhile(after: 1000), "\(pause)") }
      #expect(isWorthwhile(after: 1000), "\(pause)")
    }
  }

  @Test("Each watch that was of use makes the pause after the next one in vain shorter")
  mutating func ofUse() {
    for _ in 0..<3 {
      #expect(isWorthwhile(after: 1000))
      #expect(!isWorthwhile(after: 200_000))
      #expect(!isWorthwhile(after: 1000))
      #expect(isWorthwhile(after: 1000))
    }
  }

  @Test("Others may have the processor meanwhile, but for 1000 requests after one who kept it")
  mutating func yields() {
    watch.yield(for: 199_999)
    #expect(watch.yields)
    watch.yield(for: 200_000)
    for request in 0..<1000 {
      #expect(!watch.yields, "\(request)")
      _ = isWorthwhile(after: 1000)
    }
    #expect(watch.yields)
  }
}
