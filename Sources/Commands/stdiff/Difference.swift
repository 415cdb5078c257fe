import Safetensors

/// The result for one name.
struct Difference: Sendable {
  let name: TensorName
  /// The tensor in the first source, or nil.
  let first: Tensor?
  /// The tensor in the second source.
  let second: Tensor?
  /// How far the values differ, if requested and both have the same shape.
  var distance: Distance?
}

/// How far the elements of two tensors differ.
struct Distance: Sendable {
  /// How many elements there are, and how many of them differ.
  var count: UInt64 = 0
  var differing: UInt64 = 0
  /// The largest difference, and the largest one relative to the larger of the two magnitudes. NaN if a number is compared
  /// with a NaN.
  var absolute = 0.0
  var relative = 0.0
  private var product = 0.0
  private var squares = (first: 0.0, second: 0.0, difference: 0.0)
  /// How many numbers were measured: of complex elements, two each.
  private var measured: UInt64 = 0

  /// The root of the mean square of all differences; NaN if a number is compared with a NaN.
  var rootMeanSquare: Double { measured == 0 ? 0 : (squares.difference / Double(measured)).squareRoot() }

  /// The cosine of the angle between both, as vectors; NaN if one of them is zero.
  var cosine: Double { product / (squares.first.squareRoot() * squares.second.squareRoot()) }

  /// Adds the distance of later elements.
  mutating func add(_ other: Distance) {
    count += other.count
    differing += other.differing
    absolute = Self.larger(absolute, other.absolute)
    relative = Self.larger(relative, other.relative)
    product += other.product
    squares.first += other.squares.first
    squares.second += other.squares.second
    squares.difference += other.squares.difference
    measured += other.measured
  }

  private static func larger(_ left: Double, _ right: Double) -> Double {
    left.isNaN || right.isNaN ? .nan : max(left, right)
  }

  /// Adds the differences of numbers, without counting any.
  mutating func measure(_ first: [Double], _ second: [Double], _ count: Int) {
    measured += UInt64(count)
    for index in 0..<count {
      let (left, right) = (first[index], second[index])
      product += left * right
      squares.first += left * left
      squares.second += right * right
      if left == right || left.isNaN && right.isNaN { continue }
      let difference = (left - right).magnitude
      squares.difference += difference * difference
      absolute = Self.larger(absolute, difference)
      relative = Self.larger(relative, difference / max(left.magnitude, right.magnitude))
    }
  }
}
