import Testing

@testable import Linux

/// The amount of data that is requested from a store at the same time.
@Suite struct PaceTests {
  /// Reads 4 GiB from a store that takes 50 ms per request and delivers at most `rate` bytes per second. Always requests the whole
  /// window.
  private func window(atMost rate: Double) -> UInt64 {
    var pace = Pace()
    var (time, read) = (0.0, 0 as UInt64)
    // At least one request is always in progress.
    pace.begin(at: time)
    while read < 4 << 30 {
      let window = pace.window
      pace.begin(at: time)
      time += max(0.05, Double(window) / rate)
      pace.end(window, at: time)
      read += window
    }
    return pace.window
  }

  @Test("The window grows while throughput increases, up to a limit")
  func grows() {
    #expect(window(atMost: 100e6) <= Pace.least)
    #expect((32 << 20...64 << 20).contains(window(atMost: 640e6)))
    #expect(window(atMost: 100e9) == 256 << 20)
  }

  @Test("A reader who pauses does not make the window grow")
  func pauses() {
    var pace = Pace()
    var time = 0.0
    for _ in 0..<200 {
      pace.begin(at: time)
      time += 0.05
      pace.end(2 << 20, at: time)
      time += 1
    }
    #expect(pace.window <= Pace.least)
  }

  @Test("Failed pieces do not change the window")
  func failures() {
    var pace = Pace()
    for _ in 0..<100 {
      pace.begin(at: 1)
      pace.end(0, at: 1)
    }
    #expect(pace.window == Pace.least)
  }
}
