internal import Glibc

/// The cost of an operation at one, two and four times a size.
public struct Costs: Sendable, CustomStringConvertible {
  private let values: [Double]

  /// Below this many seconds, noise dominates.
  private static let floor = 0.02

  /// The costs in seconds of processor time, in the order of the sizes.
  public init(_ values: [Double]) { self.values = values }

  /// Measures `body` at `size`, at twice that and at four times that. `body` does something at a size, and returns the seconds of
  /// processor time that it took.
  ///
  /// On a busy machine a measurement can take longer, because other programs evict its data from the caches. So if the costs are out
  /// of proportion, each is the minimum of up to five measurements. A quadratic cost stays quadratic.
  public init(from size: Int, seconds body: (Int) async throws -> Double) async rethrows {
    var least = [Double](repeating: .infinity, count: 3)
    for _ in 0..<5 {
      for (index, factor) in [1, 2, 4].enumerated() {
        least[index] = min(least[index], try await body(factor * size))
      }
      if Self(least).areProportional { break }
    }
    values = least
  }

  /// The same, with the processor time of `body` in this thread.
  public init(from size: Int, _ body: (Int) throws -> Void) rethrows {
    var least = [Double](repeating: .infinity, count: 3)
    for _ in 0..<5 {
      for (index, factor) in [1, 2, 4].enumerated() {
        let start = Self.now
        try body(factor * size)
        least[index] = min(least[index], Self.now - start)
      }
      if Self(least).areProportional { break }
    }
    values = least
  }

  /// True if twice the size costs about twice as much, and four times the size about four times. A quadratic cost would be 4 and 16
  /// times as much.
  public var areProportional: Bool {
    let first = max(values[0], Self.floor)
    return values[1] < 3.5 * first && values[2] < 8 * first
  }

  /// The processor time of this thread, in seconds: clock_gettime(2). Excludes other programs.
  public static var now: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// All three, in order.
  public var description: String { "\(values) s" }
}
