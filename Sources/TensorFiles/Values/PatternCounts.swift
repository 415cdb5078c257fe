package import Safetensors

/// How often each bit pattern of a byte, or of two, occurs: all that statistics of narrow elements need.
///
/// Counting takes an instruction or two for each element, where converting and adding takes a dozen.
package struct PatternCounts {
  /// The width of a pattern in bytes, 1 or 2.
  private let width: Int
  /// Several tables, which take turns, so that equal patterns in a row do not wait for each other.
  private var counts: [UInt32]
  private static let turns = 4

  private var patternCount: Int { 1 << (8 * width) }

  /// Counts of nothing; nil for types whose elements are wider, or are not whole in such patterns.
  package init?(_ dtype: DType) {
    switch dtype.bitSize {
    case 4, 8: width = 1
    case 16: width = 2
    default: return nil
    }
    counts = [UInt32](repeating: 0, count: Self.turns << (8 * width))
  }

  /// Counts the patterns of some bytes, of which there are fewer than 2^32 in all.
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

  /// What the numbers of these patterns are like, as elements of that type.
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
