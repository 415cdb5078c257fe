/// Decides whether a decimal number overflows a double, digit by digit.
///
/// It uses serde_json's arithmetic, which matters at the limit: 64 bits of significand are collected,
/// further digits change only the exponent, and the two are multiplied as doubles.
struct DecimalMagnitude {
  private var significand: UInt64 = 0
  private var exponent = 0
  private var isFull = false

  /// Adds a digit before the point.
  mutating func appendInteger(_ digit: UInt8) {
    if !append(digit) { exponent += 1 }
  }

  /// Adds a digit after the point.
  mutating func appendFraction(_ digit: UInt8) {
    if append(digit) { exponent -= 1 }
  }

  /// Adds the number behind the `e`.
  mutating func scale(byPowerOfTen power: Int) { exponent += power }

  /// Adds a digit; once the significand would exceed 64 bits, returns false and ignores this and all later digits.
  private mutating func append(_ digit: UInt8) -> Bool {
    guard !isFull else { return false }
    let (product, overflowed) = significand.multipliedReportingOverflow(by: 10)
    let (sum, carried) = product.addingReportingOverflow(UInt64(digit))
    guard !overflowed, !carried else {
      isFull = true
      return false
    }
    significand = sum
    return true
  }

  /// 10^289 to 10^308: below that no 64-bit significand reaches a double's limit, above every one exceeds it.
  private static let largePowers: [Double] = [
    1e289, 1e290, 1e291, 1e292, 1e293, 1e294, 1e295, 1e296, 1e297, 1e298,
    1e299, 1e300, 1e301, 1e302, 1e303, 1e304, 1e305, 1e306, 1e307, 1e308,
  ]

  /// True if the number does not overflow a double.
  var isFinite: Bool {
    if significand == 0 || exponent < 289 { return true }
    if exponent > 308 { return false }
    return (Double(significand) * Self.largePowers[exponent - 289]).isFinite
  }
}
