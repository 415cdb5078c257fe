package import Safetensors

/// Counts the bit patterns of one or two bytes, which is enough for statistics of narrow elements.
///
/// Counting takes one or two instructions per element; converting and adding would take a dozen.
package struct PatternCounts {
  /// The width of a pattern in bytes, 1 or 2.
  private let width: Int
  /// Several tables, used in turn, so that equal consecutive patterns do not wait for each other.
  private var counts: [UInt32]
  private static let turns = 4

  /// The total of bytes must be below this, so that no counter overflows.
  package static let limit: UInt64 = 1 << 32

  private var patternCount: Int { 1 << (8 * width) }

  /// Empty counts; nil for types whose elements are wider than two bytes, or do not fit such patterns.
  package init?(_ dtype: DType) {
    switch dtype.bitSize {
    case 4, 8: width = 1
    case 16: width = 2
    default: return nil
    }
    counts = [UInt32](repeating: 0, count: Self.turns << (8 * width))
  }

  /// Counts the patterns of some bytes; the total must be below ``limit``.
  package mutating func add(_ bytes: RawSpan) {
    let patternCount = patternCount
    let isWide = width == 2
    unsafe counts.withUnsafeMutableBufferPointer { counts in
      unsafe bytes.withUnsafeBytes { bytes in
        guard let start = bytes.baseAddress, let table = counts.baseAddress else { return }
        let (second, third, fourth) = unsafe (
          table + patternCount, table + 2 * patternCount, table + 3 * patternCount
        )
        var index = 0
        while index &+ 8 <= bytes.count {
          let word = unsafe UInt64(
            littleEndian: start.loadUnaligned(fromByteOffset: index, as: UInt64.self))
          if isWide {
            unsafe table[Int(word & 0xFFFF)] &+= 1
            unsafe second[Int(word >> 16 & 0xFFFF)] &+= 1
            unsafe third[Int(word >> 32 & 0xFFFF)] &+= 1
            unsafe fourth[Int(word >> 48)] &+= 1
          } else {
            unsafe table[Int(word & 0xFF)] &+= 1
            unsafe second[Int(word >> 8 & 0xFF)] &+= 1
            unsafe third[Int(word >> 16 & 0xFF)] &+= 1
            unsafe fourth[Int(word >> 24 & 0xFF)] &+= 1
            unsafe table[Int(word >> 32 & 0xFF)] &+= 1
            unsafe second[Int(word >> 40 & 0xFF)] &+= 1
            unsafe third[Int(word >> 48 & 0xFF)] &+= 1
            unsafe fourth[Int(word >> 56)] &+= 1
          }
          index &+= 8
        }
        while index < bytes.count {
          let pattern = unsafe isWide ? Int(bytes[index]) | Int(bytes[index + 1]) << 8 : Int(bytes[index])
          unsafe table[pattern] &+= 1
          index += isWide ? 2 : 1
        }
      }
    }
  }

  /// The statistics of these patterns as elements of that type.
  package func statistics(_ reader: NumberReader) -> ValueStatistics {
    let patterns = (0..<patternCount).flatMap { pattern in
      (0..<width).map { UInt8(truncatingIfNeeded: pattern >> (8 * $0)) }
    }
    let count = Int(reader.count(in: UInt64(patterns.count)))
    var numbers = [Double](repeating: 0, count: count)
    _ = unsafe reader.read(patterns.span.bytes, into: &numbers)
    // A byte of F4 is two numbers.
    let perPattern = count / patternCount
    let table = patternCount
    return ValueStatistics(numbers) { index in
      let pattern = index / perPattern
      return (0..<Self.turns).reduce(0) { $0 + UInt64(counts[$1 * table + pattern]) }
    }
  }
}
