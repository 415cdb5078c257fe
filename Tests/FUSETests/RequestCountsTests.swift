import Testing

@testable import FUSE
@testable import Linux

@Suite("What a session counts") struct RequestCountsTests {
  @Test("Every kind of request has a counter of its own")
  func kinds() {
    let counters = RequestCounters()
    for (times, kind) in RequestKind.allCases.enumerated() {
      for _ in 0...times { counters.count(kind) }
    }
    counters.countRead(4096)
    counters.countRead(1)
    counters.countError()
    let counts = counters.current
    for (times, kind) in RequestKind.allCases.enumerated() {
      #expect(counts.requests[kind] == UInt64(times + 1))
    }
    #expect(counts.bytesRead == 4097 && counts.errors == 1)
  }

  @Test("The line has each kind of request that came, in a fixed order")
  func line() {
    #expect(RequestCounters().current.description == "no requests; 0 bytes read, 0 errors")
    let counters = RequestCounters()
    for kind in [RequestKind.statfs, .read, .read] { counters.count(kind) }
    counters.countRead(7)
    #expect(counters.current.description == "read 2, statfs 1; 7 bytes read, 0 errors")
  }
}
