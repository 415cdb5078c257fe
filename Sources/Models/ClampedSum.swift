extension Sequence<UInt64> {
  /// The sum, or `UInt64.max` if it is larger.
  package var clampedSum: UInt64 {
    reduce(0) { sum, number in
      let (sum, overflow) = sum.addingReportingOverflow(number)
      return overflow ? .max : sum
    }
  }
}
