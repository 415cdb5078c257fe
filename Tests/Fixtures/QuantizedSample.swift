/// A quantised model in memory, with its expected dequantised weights.
///
/// The expected numbers are computed from codes and scales before these are packed. The arithmetic is exact: a double holds the
/// product of a code and a scale, and is rounded to float32 once, as the formula says.
package struct QuantizedSample: Sendable {
  /// A description for the name of a test.
  package let name: String
  /// The stored tensors.
  package var tensors: [SafetensorsFile.Tensor]
  /// The text of config.json; nil if there is none.
  package var config: String?
  /// The dequantised tensors.
  package var expected: [(name: String, shape: [Int], values: [Float])]

  /// Makes a model of these tensors, and adds one that is not quantised.
  init(
    _ description: String, config: String?, _ tensors: [SafetensorsFile.Tensor],
    expected: [(name: String, shape: [Int], values: [Float])]
  ) {
    name = description
    self.config = config
    self.tensors = tensors + [SafetensorsFile.Tensor("model.norm.weight", "BF16", [8])]
    self.expected = expected
  }

  /// The model's file.
  package var file: SafetensorsFile { SafetensorsFile(tensors, metadata: ["format": "pt"]) }
}

/// Random codes and scales, and their bytes.
struct QuantizedData {
  var generator: SeededGenerator

  init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

  mutating func codes(_ count: Int, below limit: Int) -> [Int] {
    (0..<count).map { _ in Int.random(in: 0..<limit, using: &generator) }
  }

  /// Scales of a type, with either sign and every exponent up to 2^20.
  mutating func scales(_ count: Int, _ dtype: String) -> [Float] {
    (0..<count).map { _ in
      let mantissa = UInt32(truncatingIfNeeded: generator.next())
      let value = Float(sign: .plus, exponent: Int.random(in: -12...6, using: &generator), significand: 1)
      switch dtype {
      case "F32": return Float(bitPattern: value.bitPattern | mantissa & 0x7F_FFFF)
      case "BF16": return Float(bitPattern: value.bitPattern | mantissa & 0x7F_0000)
      default: return Float(bitPattern: value.bitPattern | mantissa & 0x7F_E000)
      }
    }
  }

  /// The bytes of float32 numbers in another type, which must hold them exactly.
  static func bytes(_ floats: [Float], _ dtype: String) -> [UInt8] {
    floats.flatMap { float -> [UInt8] in
      switch dtype {
      case "F32": return little(float.bitPattern, 4)
      case "BF16": return little(float.bitPattern >> 16, 2)
      default: return little(UInt32(Float16(float).bitPattern), 2)
      }
    }
  }

  static func little(_ word: UInt32, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) }
  }

  static func int32(_ numbers: [Int]) -> [UInt8] {
    numbers.flatMap { little(UInt32(truncatingIfNeeded: $0), 4) }
  }

  /// E4M3 without infinities: bias 7, 0x7F and 0xFF are NaN.
  static func e4m3(_ code: Int) -> Float {
    let sign: Float = code & 0x80 == 0 ? 1 : -1
    let exponent = code >> 3 & 15
    let mantissa = code & 7
    if exponent == 15, mantissa == 7 { return .nan }
    return exponent == 0
      ? sign * Float(mantissa) / 512
      : sign * Float(8 + mantissa) * Float(sign: .plus, exponent: exponent - 10, significand: 1)
  }

  static let e2m1: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]

  /// 2^(byte - 127), as a double; the last one is NaN.
  static func power(_ byte: Int) -> Double {
    byte == 255 ? .nan : Double(sign: .plus, exponent: byte - 127, significand: 1)
  }

  /// `(value - zero) * scale`, rounded to float32 once.
  static func scaled(_ value: Float, _ scale: Double, zero: Int = 0) -> Float {
    // A double holds the product, which has at most 28 significant bits.
    Float((Double(value) - Double(zero)) * scale)
  }

  /// Codes as a stream of bits, padded to whole 32-bit words.
  static func stream(_ codes: [Int], _ width: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: (codes.count * width + 31) / 32 * 4)
    for (index, code) in codes.enumerated() {
      for bit in 0..<width where code >> bit & 1 == 1 {
        bytes[(index * width + bit) / 8] |= 1 << UInt8((index * width + bit) % 8)
      }
    }
    return bytes
  }

  /// Codes in 32-bit words, as many whole codes in each word as fit.
  static func words(_ codes: [Int], _ width: Int) -> [UInt8] {
    let perWord = 32 / width
    return stride(from: 0, to: codes.count, by: perWord).flatMap { start in
      let part = codes[start..<min(start + perWord, codes.count)]
      return little(
        part.enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << UInt32($1.offset * width) }, 4)
    }
  }

  /// Two codes in each byte, the first one in the low half.
  static func nibbles(_ codes: [Int]) -> [UInt8] {
    stride(from: 0, to: codes.count, by: 2).map { UInt8(codes[$0] | codes[$0 + 1] << 4) }
  }
}

/// Elements of a matrix by row and column.
struct Grid<Element> {
  let columns: Int
  var elements: [Element]

  init(_ elements: [Element], columns: Int) {
    self.elements = elements
    self.columns = columns
  }

  subscript(row: Int, column: Int) -> Element { elements[row * columns + column] }

  var rows: Int { elements.count / columns }
  func row(_ row: Int) -> [Element] { Array(elements[row * columns..<(row + 1) * columns]) }
  func column(_ column: Int) -> [Element] { (0..<rows).map { self[$0, column] } }

  /// Transposes words that were made of columns: element `[word][column]`.
  static func transposed(_ columns: [[UInt8]], wordSize: Int) -> [UInt8] {
    let words = (columns.first?.count ?? 0) / wordSize
    return (0..<words).flatMap { word in columns.flatMap { $0[word * wordSize..<(word + 1) * wordSize] } }
  }
}
