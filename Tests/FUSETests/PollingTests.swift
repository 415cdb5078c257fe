import Testing

@testable import FUSE

/// A clock that advances only when a test advances it.
final class ManualClock {
  var now = 5_000_000
}

@Suite("Polling for the next request") struct PollingTests {
  private let clock = ManualClock()

  /// Polling that sees a request after a number of nanoseconds. Each yield takes `step` nanoseconds.
  private func timeLost(after wait: Int, step: Int, isPossible: Bool = true) -> Int? {
    let start = clock.now
    let polling = Polling(
      now: { [clock] in clock.now }, yield: { [clock] in clock.now += step }, isPossible: isPossible)
    return polling.timeLost(until: { clock.now >= start + wait })
  }

  @Test("A request that waits already or arrives within 100 µs is found", arguments: [0, 1, 75_000, 100_000])
  func inTime(wait: Int) { #expect(timeLost(after: wait, step: 1000) == nil) }

  @Test("A request that arrives later is not found, and polling ends", arguments: [101_001, Int.max / 2])
  func tooLate(wait: Int) {
    #expect(timeLost(after: wait, step: 1000) == 100_000)
  }

  @Test("Polling ends when another thread keeps the processor for 200 µs, though a request may have arrived")
  func busy() {
    #expect(timeLost(after: 1, step: 200_000) == 200_000)
    #expect(timeLost(after: 1, step: 4_000_000) == 4_000_000)
    #expect(timeLost(after: 1, step: 199_999) == nil)
  }

  @Test("On a single processor only a request that waits already is found")
  func singleProcessor() {
    #expect(timeLost(after: 0, step: 1000, isPossible: false) == nil)
    #expect(timeLost(after: 1, step: 1000, isPossible: false) == 0)
  }
}

@Suite("Back-off of polling") struct BackOffTests {
  private var backOff = BackOff()

  @Test("It doubles with each answer that has to wait, up to 256 requests")
  mutating func waits() {
    for requests in [4, 8, 16, 32, 64, 128, 256, 256] { #expect(backOff.double() == requests) }
  }

  @Test("Requests that overlap add 4")
  mutating func overlap() {
    for requests in [4, 8, 12] { #expect(backOff.grow() == requests) }
    for _ in 0..<100 { _ = backOff.grow() }
    #expect(backOff.grow() == 256)
  }

  @Test("After an unsuccessful poll all workers receive for 64 times as long, at most half a second")
  mutating func vain() {
    for time in [100_000, 4_000_000] { #expect(backOff.pause(after: time) == 64 * time) }
    // Such as a process that was stopped for an hour.
    for time in [8_000_000, 3_600_000_000_000] { #expect(backOff.pause(after: time) == 500_000_000) }
  }

  @Test("A successful poll offsets 8 µs of unsuccessful ones, and all of them 1 ms at most")
  mutating func savings() {
    for _ in 0..<20 { backOff.shrink() }
    #expect(backOff.pause(after: 100_000) == 0)
    #expect(backOff.pause(after: 100_000) == 64 * 40_000)
    #expect(backOff.pause(after: 100_000) == 64 * 100_000)
    for _ in 0..<1000 { backOff.shrink() }
    #expect(backOff.pause(after: 1_000_000) == 0)
    #expect(backOff.pause(after: 1) == 64)
  }

  @Test("Each success takes 8 off, down to none")
  mutating func shrink() {
    for _ in 0..<6 { _ = backOff.double() }
    for _ in 0..<10 { backOff.shrink() }
    #expect(backOff.grow() == 52)
    for _ in 0..<100 { backOff.shrink() }
    #expect(backOff.grow() == 4)
  }
}
