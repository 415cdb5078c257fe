/// Numbers: the integers of the format, and any number in skipped fields.
extension JSONCursor {
  /// Reads an integer from 0 to 2^64 - 1, written without sign, fraction, exponent or leading zero.
  package mutating func unsignedInteger() throws(JSONError) -> UInt64 {
    skipWhitespace()
    let start = offset
    guard let first = nextDigit() else { throw unexpected("a non-negative integer") }
    var value = UInt64(first)
    while let digit = nextDigit() {
      let (product, overflowed) = value.multipliedReportingOverflow(by: 10)
      let (sum, carried) = product.addingReportingOverflow(UInt64(digit))
      guard !overflowed, !carried else {
        throw JSONError(offset: start, problem: "the integer does not fit in 64 bits")
      }
      value = sum
    }
    if first == 0, offset - start > 1 {
      throw JSONError(offset: start, problem: "an integer must not begin with 0")
    }
    if byte == UInt8(ascii: ".") || byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
      throw JSONError(offset: start, problem: "expected an integer, without fraction or exponent")
    }
    return value
  }

  /// Reads a number of any form, and refuses one that overflows a double.
  package mutating func skipNumber() throws(JSONError) {
    let start = offset
    let isSigned = consumeNext(UInt8(ascii: "-"))
    let integer = offset
    guard let first = nextDigit() else { throw unexpected(isSigned ? "a digit" : "a value") }
    var magnitude = DecimalMagnitude()
    magnitude.appendInteger(first)
    while let digit = nextDigit() { magnitude.appendInteger(digit) }
    if first == 0, offset - integer > 1 {
      throw JSONError(offset: start, problem: "a number must not begin with 0")
    }
    if consumeNext(UInt8(ascii: ".")) {
      guard let digit = nextDigit() else { throw unexpected("a digit") }
      magnitude.appendFraction(digit)
      while let digit = nextDigit() { magnitude.appendFraction(digit) }
    }
    if consumeNext(UInt8(ascii: "e")) || consumeNext(UInt8(ascii: "E")) {
      let isNegative = consumeNext(UInt8(ascii: "-"))
      if !isNegative { _ = consumeNext(UInt8(ascii: "+")) }
      guard let digit = nextDigit() else { throw unexpected("a digit") }
      var power = Int(digit)
      // A text is at most 100 MB, so no exponent beyond this can be balanced by its digits.
      while let digit = nextDigit() { power = min(power * 10 + Int(digit), Int(Int32.max)) }
      magnitude.scale(byPowerOfTen: isNegative ? -power : power)
    }
    guard magnitude.isFinite else { throw JSONError(offset: start, problem: "the number is out of range") }
  }

  /// True, with the byte consumed, if `wanted` comes next, with no whitespace before it.
  private mutating func consumeNext(_ wanted: UInt8) -> Bool {
    guard byte == wanted else { return false }
    advance()
    return true
  }

  /// The value of the digit at the cursor, which is consumed, or nil.
  private mutating func nextDigit() -> UInt8? {
    guard let byte, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
    advance()
    return byte - UInt8(ascii: "0")
  }
}
