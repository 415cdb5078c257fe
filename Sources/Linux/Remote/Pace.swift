/// How much to have on its way from a store, which is what it brings in a second times how long a request takes: found out by having
/// twice as much on the way, for as long as that brings more.
struct Pace {
  /// In bytes: more than FUSE has under way as a rule, twelve requests of at most a MiB, so that it never waits for readers; and as
  /// much again, of which the bytes have come and the attributes are asked for.
  static let least: UInt64 = 32 << 20
  /// In bytes.
  static let most: UInt64 = 256 << 20

  /// In bytes.
  private(set) var window = least
  /// Bytes that have come, and the seconds at which the last measurement began.
  private var delivered: UInt64 = 0
  private var start = 0.0
  private var inFlight = 0
  /// In bytes a second.
  private var rate = 0.0
  private var hasGrown = false

  /// A piece is asked for, at a time in seconds.
  mutating func begin(at time: Double) {
    if inFlight == 0 { (delivered, start) = (0, time) }
    inFlight += 1
  }

  /// A piece of so many bytes has come, or none of it.
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
      // A rate of better times would let nothing grow any more.
      (rate, hasGrown) = ((rate + new) / 2, false)
    }
  }
}
