import Testing

@testable import FUSE

/// A clock that advances only when a test advances it.
private final class ManualClock {
  var now = 5_000_000
}

@Suite("Polling for the next request") struct PollingTests {
  private let clock = ManualClock()

  /// Polling that sees a request after a number of nanoseconds. Each yield takes `step` nanoseconds.
  private func finds(after wait: Int, step: Int, isPossible: Bool = true) -> Bool {
    let start = clock.now
    let polling = Polling(
      now: { [clock] in clock.now }, yield: { [clock] in clock.now += step }, isPossible: isPossible)
    return polling.finds { clock.now >= start + wait }
  }

  @Test("A request that waits already or arrives within 100 µs is found", arguments: [0, 1, 75_000, 100_000])
  func inTime(wait: Int) { #expect(finds(after: wait, step: 1000)) }

  @Test("A request that arrives later is not found, and polling ends", arguments: [101_001, Int.max / 2])
  func tooLate(wait: Int) {
    let start = clock.now
    #expect(!finds(after: wait, step: 1000))
    #expect(clock.now - start <= 101_000)
  }

  @Test("Polling ends when another thread keeps the processor for 200 µs, though a request may have arrived")
  func busy() {
    #expect(!finds(after: 1, step: 200_000))
    #expect(finds(after: 1, step: 199_999))
  }

  @Test("On a single processor only a request that waits already is found")
  func singleProcessor() {
    #expect(finds(after: 0, step: 1000, isPossible: false))
    #expect(!finds(after: 1, step: 1000, isPossible: false))
  }
}

@Suite("Back-off of polling") struct BackOffTests {
  private var backOff = BackOff()

  @Test("It doubles with each poll in vain, up to 256 requests")
  mutating func vain() {
    for requests in [4, 8, 16, 32, 64, 128, 256, 256] { #expect(backOff.double() == requests) }
  }

  @Test("Requests that overlap add 4")
  mutating func overlap() {
    for requests in [4, 8, 12] { #expect(backOff.grow() == requests) }
    for _ in 0..<100 { _ = backOff.grow() }
    #expect(backOff.grow() == 256)
  }

  @Test("Each success takes 8 off, down to none")
  mutating func shrink() {
    for _ in 0..<6 { _ = backOff.double() }
    for _ in 0..<10 { backOff.shrink() }
    #expect(backOff.grow() == 52)
    for _ in 0..<100 { backOff.shrink() }
    #expect(backOff == BackOff())
  }
}
