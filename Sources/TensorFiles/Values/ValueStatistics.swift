/// Statistics of some numbers.
///
/// NaNs are counted, and ignored otherwise: minimum, maximum, mean and standard deviation are those of numpy.nanmin,
/// nanmax, nanmean and nanstd for float64, up to rounding.
package struct ValueStatistics: Sendable {
  /// The number of values, NaNs included.
  package private(set) var count: UInt64 = 0
  /// The numbers of NaNs, of infinities, and of zeros of either sign.
  package private(set) var nanCount: UInt64 = 0
  package private(set) var infinityCount: UInt64 = 0
  package private(set) var zeroCount: UInt64 = 0
  /// The smallest and the largest value; inverted infinities if there are none.
  private var lowest = Double.infinity
  private var highest = -Double.infinity
  /// The mean of the finite numbers, and the sum of the squared distances from it.
  private var average = 0.0
  private var squares = 0.0

  /// Empty statistics.
  package init() {}

  private var finiteCount: UInt64 { count - nanCount - infinityCount }

  /// The smallest number, or NaN.
  package var minimum: Double { count == nanCount ? .nan : lowest }
  /// The largest number, or NaN.
  package var maximum: Double { count == nanCount ? .nan : highest }

  /// The mean; NaN if there is no number, or there are infinities of both signs.
  package var mean: Double {
    // One of them is infinite; both of opposite signs add up to NaN.
    if infinityCount > 0 { return lowest + highest }
    return count == nanCount ? .nan : average
  }

  /// The population standard deviation; NaN if there is no number, or an infinite one.
  package var standardDeviation: Double {
    infinityCount > 0 || count == nanCount ? .nan : (squares / Double(finiteCount)).squareRoot()
  }

  /// Adds the statistics of other numbers: Chan's formula.
  package mutating func add(_ other: ValueStatistics) {
    let (own, others) = (Double(finiteCount), Double(other.finiteCount))
    if own == 0 {
      (average, squares) = (other.average, other.squares)
    } else if average.isInfinite || other.average.isInfinite {
      // A sum of large numbers has overflowed, as in NumPy.
      average += other.average
      squares = average.isNaN ? .nan : .infinity
    } else if others > 0 {
      let distance = other.average - average
      squares += other.squares + distance * distance * own / (own + others) * others
      average += distance * (others / (own + others))
    }
    count += other.count
    nanCount += other.nanCount
    infinityCount += other.infinityCount
    zeroCount += other.zeroCount
    lowest = min(lowest, other.lowest)
    highest = max(highest, other.highest)
  }

  /// Statistics of numbers with their frequencies.
  init(_ numbers: [Double], times weights: (Int) -> UInt64) {
    var sum = 0.0
    for (index, number) in numbers.enumerated() {
      let weight = weights(index)
      guard weight > 0 else { continue }
      count += weight
      if number.isNaN {
        nanCount += weight
        continue
      }
      if number == 0 { zeroCount += weight }
      lowest = min(lowest, number)
      highest = max(highest, number)
      if number.isInfinite { infinityCount += weight } else { sum += number * Double(weight) }
    }
    guard finiteCount > 0 else { return }
    average = sum / Double(finiteCount)
    for (index, number) in numbers.enumerated() where number.isFinite {
      let weight = weights(index)
      if weight > 0 { squares += (number - average) * (number - average) * Double(weight) }
    }
  }

  /// Statistics of the first `count` of some numbers, which should fit into the processor's cache: they are read twice.
  package init(_ numbers: [Double], count: Int) {
    self.count = UInt64(count)
    unsafe numbers.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      typealias Vector = SIMD8<Double>
      let whole = count / Vector.scalarCount * Vector.scalarCount
      func vector(_ index: Int) -> Vector {
        if index < whole {
          return unsafe start.loadUnaligned(fromByteOffset: index &* 8, as: Vector.self)
        }
        // Values beyond the end count as NaN, and are subtracted again.
        var rest = Vector(repeating: .nan)
        for offset in index..<count { rest[offset - index] = numbers[offset] }
        return rest
      }
      var sum = Vector.zero
      var (low, high) = (Vector(repeating: .infinity), Vector(repeating: -.infinity))
      var (nans, infinities, zeros) = (SIMD8<Int64>.zero, SIMD8<Int64>.zero, SIMD8<Int64>.zero)
      for index in stride(from: 0, to: count, by: Vector.scalarCount) {
        let numbers = vector(index)
        let isNaN = numbers .!= numbers
        nans.replace(with: nans &+ 1, where: isNaN)
        zeros.replace(with: zeros &+ 1, where: numbers .== 0)
        infinities.replace(with: infinities &+ 1, where: numbers .== Double.infinity)
        infinities.replace(with: infinities &+ 1, where: numbers .== -Double.infinity)
        low.replace(with: numbers, where: numbers .< low)
        high.replace(with: numbers, where: numbers .> high)
        // The difference of equal infinities is NaN.
        sum += numbers.replacing(with: 0, where: numbers - numbers .!= 0)
      }
      let beyond = whole == count ? 0 : Vector.scalarCount - (count - whole)
      nanCount = UInt64(nans.wrappedSum()) - UInt64(beyond)
      zeroCount = UInt64(zeros.wrappedSum())
      infinityCount = UInt64(infinities.wrappedSum())
      lowest = low.min()
      highest = high.max()
      guard finiteCount > 0 else { return }
      average = sum.sum() / Double(finiteCount)
      var squares = Vector.zero
      for index in stride(from: 0, to: count, by: Vector.scalarCount) {
        let numbers = vector(index)
        let distance = (numbers - average).replacing(with: 0, where: numbers - numbers .!= 0)
        squares += distance * distance
      }
      self.squares = squares.sum()
    }
  }
}
