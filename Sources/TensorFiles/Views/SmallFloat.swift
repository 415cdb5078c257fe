/// A floating-point format of at most 8 bits: sign, exponent, mantissa, from the highest bit down.
struct SmallFloat: Sendable {
  /// The patterns that are not numbers.
  enum Specials: Sendable {
    /// All are numbers.
    case none
    /// As in IEEE 754: the highest exponent is infinity, or NaN if the mantissa is not 0.
    case ieee
    /// The pattern of all ones is NaN, of either sign; no infinities ("FN").
    case lastIsNaN
    /// The pattern of negative zero is the only NaN; no infinities ("FNUZ").
    case minusZeroIsNaN
  }

  /// 1, or 0 if there is no sign.
  private let signBits: Int
  private let exponentBits: Int
  private let mantissaBits: Int
  private let bias: Int
  private let specials: Specials

  /// A format with a sign.
  init(exponent: Int, mantissa: Int, bias: Int, specials: Specials) {
    signBits = 1
    exponentBits = exponent
    mantissaBits = mantissa
    self.bias = bias
    self.specials = specials
  }

  /// E8M0: only an exponent; 0 is 2^-127, and all ones is NaN.
  static let powersOfTwo = SmallFloat()

  private init() {
    signBits = 0
    exponentBits = 8
    mantissaBits = 0
    bias = 127
    specials = .lastIsNaN
  }

  /// The width in bits.
  var bitCount: Int { signBits + exponentBits + mantissaBits }

  /// The float32 of each pattern, as bits.
  var table: [UInt32] { (0..<1 << bitCount).map { float(UInt32($0)).bitPattern } }

  /// The value of a pattern, which float32 holds exactly.
  private func float(_ pattern: UInt32) -> Float {
    let isNegative = signBits == 1 && pattern >> UInt32(bitCount - 1) == 1
    let sign: FloatingPointSign = isNegative ? .minus : .plus
    let exponent = Int(pattern >> UInt32(mantissaBits)) & (1 << exponentBits - 1)
    let mantissa = Int(pattern) & (1 << mantissaBits - 1)
    let hasLastExponent = exponent == 1 << exponentBits - 1
    let nan = isNegative ? -Float.nan : Float.nan
    switch specials {
    case .none: break
    case .ieee:
      if hasLastExponent { return mantissa == 0 ? (isNegative ? -Float.infinity : .infinity) : nan }
    case .lastIsNaN:
      if hasLastExponent, mantissa == 1 << mantissaBits - 1 { return nan }
    case .minusZeroIsNaN:
      if isNegative, exponent == 0, mantissa == 0 { return nan }
    }
    // The lowest exponent means subnormal numbers: no leading one, and the next exponent. Without a mantissa there are none.
    let isSubnormal = exponent == 0 && mantissaBits > 0
    let significand = Float(isSubnormal ? mantissa : mantissa + 1 << mantissaBits)
    let scale = (isSubnormal ? 1 : exponent) - bias - mantissaBits
    return Float(sign: sign, exponent: scale, significand: significand)
  }
}
