internal import Linux

/// Notices when requests have stopped for long enough that a mount may go.
package struct IdleWatch: Sendable {
  /// How long there must have been no request.
  package let limit: Duration
  private var total: UInt64
  private var since: ContinuousClock.Instant

  /// Watches from `now` on.
  package init(limit: Duration, now: ContinuousClock.Instant = .now) {
    self.limit = limit
    total = 0
    since = now
  }

  /// How often to look: often enough that a mount goes at most a quarter late, and never in a hurry.
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
