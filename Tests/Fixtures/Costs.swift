internal import Glibc

/// What something costs at a size, at twice that and at four times that.
public struct Costs: Sendable, CustomStringConvertible {
  private let values: [Double]

  /// What is less than this many seconds is measured in noise.
  private static let floor = 0.02

  /// The costs in seconds of a processor, in the order of the sizes.
  public init(_ values: [Double]) { self.values = values }

  /// Measures `body`, which does something at a size and says how many seconds of a processor that took, at `size`, at twice that and at
  /// four times that.
  ///
  /// A busy machine makes some of them longer, by what it has to fetch again from memory. So where they are out of proportion the least
  /// of up to five times counts: what is a square stays one.
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

  /// The same with the processor's time of `body` in this thread.
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

  /// True if twice the size costs about twice, and four times the size about four times. A square would cost 4 and 16 times.
  public var areProportional: Bool {
    let first = max(values[0], Self.floor)
    return values[1] < 3.5 * first && values[2] < 8 * first
  }

  /// The seconds that this thread has had of a processor: clock_gettime(2). Other programs do not count.
  public static var now: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// All three, in order.
  public var description: String { "\(values) s" }
}
