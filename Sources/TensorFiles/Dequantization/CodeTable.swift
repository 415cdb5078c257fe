internal import Models
internal import Safetensors

/// A table of the float32 value of each code of a format.
struct CodeTable: Sendable {
  /// 256 values. Narrower codes repeat.
  let values: [Float]
  /// For 4-bit codes, both values of a byte, low half first.
  let lowFirst: [SIMD2<Float>]
  /// The same, high half first.
  let highFirst: [SIMD2<Float>]
  /// Vector instructions for these codes; nil if the processor has none.
  let float8: Float8Vectors?

  private struct Key: Hashable {
    let values: QuantizedCodes.Values
    let width: Int
  }

  private static let shared: [Key: CodeTable] = {
    var keys: [Key] = [
      Key(values: .float(.f8e4m3), width: 8), Key(values: .float(.f8e5m2), width: 8),
      Key(values: .float(.f4), width: 4), Key(values: .modelOptFloat4, width: 4),
      Key(values: .normalFloat4, width: 4),
      Key(values: .bitsAndBytesFloat4, width: 4), Key(values: .signed, width: 8),
    ]
    for width in 1...8 { keys += [Key(values: .unsigned, width: width), Key(values: .offset, width: width)] }
    return Dictionary(uniqueKeysWithValues: keys.map { ($0, CodeTable($0)) })
  }()

  /// The table of a format. All tensors share it.
  static func table(of codes: QuantizedCodes) -> CodeTable {
    let key = Key(values: codes.values, width: codes.width)
    return shared[key] ?? CodeTable(key)
  }

  private init(_ key: Key) {
    let count = 1 << key.width
    let own: [Float] =
      switch key.values {
      case .float(let dtype): dtype.codeValues ?? [Float](repeating: .nan, count: count)
      case .modelOptFloat4: (DType.f4.codeValues ?? []).map { $0 == 0 ? 0 : $0 }
      case .unsigned: (0..<count).map { Float($0) }
      case .signed: (0..<count).map { Float(Int8(truncatingIfNeeded: $0)) }
      case .offset: (0..<count).map { Float($0 - count / 2) }
      case .normalFloat4: FourBitTables.normalFloats
      case .bitsAndBytesFloat4: FourBitTables.bitsAndBytesFloats
      }
    // One bit pattern for all NaNs, so that results do not depend on the code path.
    let values = (0..<256).map { own[$0 % own.count].isNaN ? .nan : own[$0 % own.count] }
    self.values = values
    float8 = if case .float(let dtype) = key.values { Float8Vectors(dtype) } else { nil }
    let isNibble = key.width == 4
    lowFirst = isNibble ? (0..<256).map { SIMD2(values[$0 & 15], values[$0 >> 4]) } : []
    highFirst = isNibble ? (0..<256).map { SIMD2(values[$0 >> 4], values[$0 & 15]) } : []
  }
}

extension DType {
  /// The values of all codes of a floating-point dtype with at most 8 bits; nil if it does not widen to whole
  /// elements.
  fileprivate var codeValues: [Float]? {
    guard let widening, bitSize == 4 || bitSize == 8 else { return nil }
    // The first element of a byte is in its low bits.
    let codes = (0..<1 << bitSize).map { UInt8(truncatingIfNeeded: $0) }
    let perByte = Int(8 / bitSize)
    var words = [UInt64](repeating: 0, count: codes.count * perByte / 2)
    var target = words.mutableSpan
    var bytes = unsafe target.mutableBytes
    _ = unsafe widening.widen(codes.span.bytes, into: &bytes)
    let floats = words.flatMap { word in
      [Float(bitPattern: UInt32(truncatingIfNeeded: word)), Float(bitPattern: UInt32(word >> 32))]
    }
    return codes.indices.map { floats[$0 * perByte] }
  }
}
