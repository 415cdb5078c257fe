internal import Glibc

/// What something costs at a size, at twice that and at four times that.
public struct Costs: Sendable, CustomStringConvertible {
  private let values: [Double]

  /// What is less than this many seconds is measured in noise.
  private static let floor = 0.02

  /// The costs in seconds of a processor, in the order of the sizes.
  public init(_ values: [Double]) { self.values = values }

  /// Measures `body` at a size, at twice that and at four times that; of each the least of three times.
  public init(from size: Int, _ body: (Int) throws -> Void) rethrows {
    values = try [size, 2 * size, 4 * size].map { size in
      var least = Double.infinity
      for _ in 0..<3 {
        let start = Self.now
        try body(size)
        least = min(least, Self.now - start)
      }
      return least
    }
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
