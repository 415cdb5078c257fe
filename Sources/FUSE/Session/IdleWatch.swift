/// Detects that a mount had no requests for the idle limit.
package struct IdleWatch: Sendable {
  /// The required time without requests.
  package let limit: Duration
  private var total: UInt64
  private var since: ContinuousClock.Instant

  /// Watches from `now` on.
  package init(limit: Duration, now: ContinuousClock.Instant = .now) {
    self.limit = limit
    total = 0
    since = now
  }

  /// The interval of checks: short enough that a mount ends at most a quarter of the limit late.
  package var interval: Duration { min(max(limit / 4, .milliseconds(100)), .seconds(60)) }

  /// True if `counts` have not changed for the whole limit.
  package mutating func isIdle(_ counts: RequestCounts, now: ContinuousClock.Instant = .now) -> Bool {
    let total = counts.requests.values.reduce(0, &+)
    if total != self.total {
      self.total = total
      since = now
    }
    return since.duration(to: now) >= limit
  }
}
