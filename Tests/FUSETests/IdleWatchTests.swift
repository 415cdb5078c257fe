import Testing

@testable import FUSE
@testable import Linux

@Suite("When a mount counts as idle") struct IdleWatchTests {
  private let start = ContinuousClock.now

  private func counts(_ reads: UInt64) -> RequestCounts {
    RequestCounts(requests: [.read: reads, .lookup: 3], bytesRead: 0, errors: 0)
  }

  @Test("A mount is idle only after the whole limit without a request, counted from the last one")
  func limit() {
    var watch = IdleWatch(limit: .seconds(10), now: start)
    // The first check, at 9, finds a request, which may have arrived as late as 9.
    let looks: [(second: Int, reads: UInt64, isIdle: Bool)] = [
      (9, 1, false), (18, 1, false), (19, 1, true), (25, 1, true), (26, 2, false), (36, 2, true),
    ]
    for look in looks {
      let isIdle = watch.isIdle(counts(look.reads), now: start + .seconds(look.second))
      #expect(isIdle == look.isIdle, "after \(look.second) seconds")
    }
  }

  @Test("The check for idleness runs often enough, and not all the time")
  func interval() {
    for (limit, interval) in [(0.001, 0.1), (8, 2), (86_400, 60)] {
      #expect(IdleWatch(limit: .seconds(limit)).interval == .seconds(interval))
    }
  }
}
