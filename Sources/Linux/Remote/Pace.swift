/// Finds how many bytes to request from a store ahead of readers: its bandwidth times its latency. Doubles
/// the window for as long as that increases throughput.
struct Pace {
  /// The minimum window, in bytes. 16 MiB exceed what FUSE has in flight (normally 12 requests of at most 1
  /// MiB), so that FUSE never idles. Another 16 MiB have arrived and wait for a check of the file's
  /// attributes.
  static let least: UInt64 = 32 << 20
  /// The maximum window, in bytes.
  static let most: UInt64 = 256 << 20

  /// The current window, in bytes.
  private(set) var window = least
  /// The bytes that have arrived since the current measurement began, and when it began, in seconds.
  private var delivered: UInt64 = 0
  private var start = 0.0
  private var inFlight = 0
  /// Bytes per second.
  private var rate = 0.0
  private var hasGrown = false

  /// Records that a piece is requested, at a time in seconds.
  mutating func begin(at time: Double) {
    if inFlight == 0 { (delivered, start) = (0, time) }
    inFlight += 1
  }

  /// Records that a request ended, with `bytes` received; 0 for a failed one.
  mutating func end(_ bytes: UInt64, at time: Double) {
    inFlight -= 1
    delivered += bytes
    guard delivered >= 2 * window, time > start else { return }
    let new = Double(delivered) / (time - start)
    (delivered, start) = (0, time)
    if new > 1.1 * rate {
      (rate, hasGrown) = (new, window < Self.most)
      window = min(2 * window, Self.most)
    } else {
      if hasGrown { window = max(window / 2, Self.least) }
      // Averages, since a peak rate would prevent all later growth.
      (rate, hasGrown) = ((rate + new) / 2, false)
    }
  }
}
