internal import Models
package import Safetensors

/// Reads elements of any dtype as float64.
///
/// Exact, except that 64-bit integers beyond 2^53 are rounded. BOOL is 0 or 1. The real and imaginary parts of a complex
/// element are two numbers.
package struct NumberReader: Sendable {
  private enum Form: Sendable {
    case widened(Widening)
    case bool, i8, u8, i16, u16, i32, u32, f32, f64, i64, u64
  }

  private let form: Form
  /// The numbers and the bytes of the smallest group of elements that fills whole bytes.
  private let group: (numbers: Int, bytes: Int)

  /// A reader of this type's elements.
  package init(_ dtype: DType) {
    switch dtype {
    case .bool: form = .bool
    case .i8: form = .i8
    case .u8: form = .u8
    case .i16: form = .i16
    case .u16: form = .u16
    case .i32: form = .i32
    case .u32: form = .u32
    case .f64: form = .f64
    case .i64: form = .i64
    case .u64: form = .u64
    default: form = dtype.widening.map { .widened($0) } ?? .f32
    }
    switch dtype.bitSize {
    case 4: group = (2, 1)
    case 6: group = (4, 3)
    default: group = (dtype == .c64 ? 2 : 1, Int(dtype.bitSize / 8))
    }
  }

  /// The number of numbers in the whole groups of that many bytes.
  package func count(in byteCount: UInt64) -> UInt64 {
    byteCount / UInt64(group.bytes) * UInt64(group.numbers)
  }

  /// The size of that many numbers, which fill whole bytes.
  package func byteCount(of numbers: UInt64) -> UInt64 {
    numbers / UInt64(group.numbers) * UInt64(group.bytes)
  }

  /// Reads the whole elements of `source` that fit into `target`; returns the number of numbers.
  package func read(_ source: RawSpan, into target: inout [Double]) -> Int {
    let count = min(
      source.byteCount / group.bytes * group.numbers, target.count / group.numbers * group.numbers)
    unsafe target.withUnsafeMutableBufferPointer { target in
      unsafe source.withUnsafeBytes { source in
        guard let source = source.baseAddress, let target = target.baseAddress else { return }
        switch form {
        case .bool: unsafe convert(source, target, count) { (word: UInt8) in word == 0 ? 0 : 1 }
        case .i8: unsafe convert(source, target, count) { (word: Int8) in Double(word) }
        case .u8: unsafe convert(source, target, count) { (word: UInt8) in Double(word) }
        case .i16: unsafe convert(source, target, count) { (word: Int16) in Double(word) }
        case .u16: unsafe convert(source, target, count) { (word: UInt16) in Double(word) }
        case .i32: unsafe convert(source, target, count) { (word: Int32) in Double(word) }
        case .u32: unsafe convert(source, target, count) { (word: UInt32) in Double(word) }
        case .i64: unsafe convert(source, target, count) { (word: Int64) in Double(word) }
        case .u64: unsafe convert(source, target, count) { (word: UInt64) in Double(word) }
        case .f32: unsafe convert(source, target, count) { (word: UInt32) in Double(Float(bitPattern: word)) }
        case .f64: unsafe convert(source, target, count) { (word: UInt64) in Double(bitPattern: word) }
        case .widened(let widening):
          // Read into the upper half of the target's memory, then convert from the front.
          let start = unsafe UnsafeMutableRawPointer(target) + 4 * count
          var wide = unsafe MutableRawSpan(
            _unsafeBytes: UnsafeMutableRawBufferPointer(start: start, count: 4 * count))
          let bytes = unsafe RawSpan(
            _unsafeStart: source, byteCount: count / group.numbers * group.bytes)
          _ = widening.widen(bytes, into: &wide)
          unsafe convert(UnsafeRawPointer(start), target, count) { (word: UInt32) in
            Double(Float(bitPattern: word))
          }
        }
      }
    }
    return count
  }
}

/// Converts words one by one. `source` may be the upper half of `target`: each word is read before its place is written.
@inline(__always)
private func convert<Word: FixedWidthInteger & BitwiseCopyable>(
  _ source: UnsafeRawPointer, _ target: UnsafeMutablePointer<Double>, _ count: Int, _ body: (Word) -> Double
) {
  for index in 0..<count {
    let word = unsafe source.loadUnaligned(fromByteOffset: index &* MemoryLayout<Word>.size, as: Word.self)
    unsafe target[index] = body(Word(littleEndian: word))
  }
}
