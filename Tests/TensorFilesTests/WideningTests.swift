import Fixtures
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Widening to float32") struct WideningTests {
  private static let dtypes = Dictionary(uniqueKeysWithValues: DType.allCases.map { ($0.name, $0) })

  /// The float32 numbers, as bits, that a tensor's bytes become.
  static func widen(_ dtype: DType, _ bytes: [UInt8]) throws -> [UInt32] {
    let widening = try #require(dtype.widening)
    var words = [UInt32](repeating: 0, count: bytes.count * 8 / Int(dtype.bitSize))
    var span = words.mutableSpan
    var target = unsafe span.mutableBytes
    let count = unsafe widening.widen(bytes.span.bytes, into: &target)
    #expect(count == words.count * 4)
    return words
  }

  /// Elements of `width` bits, packed from the lowest bit of each byte up.
  static func pack(_ elements: [Int], width: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: (elements.count * width + 7) / 8)
    for (index, element) in elements.enumerated() {
      for bit in 0..<width where element >> bit & 1 == 1 {
        let position = index * width + bit
        bytes[position / 8] |= 1 << UInt8(position % 8)
      }
    }
    return bytes
  }

  @Test(
    "Every bit pattern of up to 8 bits becomes the float32 of ml_dtypes",
    arguments: FloatTables.words.keys)
  func small(name: String) throws {
    let dtype = try #require(Self.dtypes[name])
    let width = Int(dtype.bitSize)
    let expected = try #require(FloatTables.words[name])
    try #require(expected.count == 1 << width)
    #expect(try Self.widen(dtype, Self.pack(Array(expected.indices), width: width)) == expected)
  }

  @Test("Every BF16 bit pattern is the upper half of its float32, including NaNs")
  func bfloat16() throws {
    let patterns = (0..<65536).map { UInt32($0) }
    let bytes = patterns.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    #expect(try Self.widen(.bf16, bytes) == patterns.map { $0 << 16 })
  }

  @Test("Every F16 bit pattern keeps its value, including infinities, NaNs and the sign of zero")
  func half() throws {
    let patterns = (0..<65536).map { UInt32($0) }
    let bytes = patterns.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    let expected = patterns.map { pattern -> UInt32 in
      let sign = pattern >> 15
      let exponent = Int(pattern >> 10 & 31)
      let mantissa = pattern & 1023
      if exponent == 31 { return sign << 31 | 0x7F80_0000 | mantissa << 13 }
      // The definition of IEEE 754, computed in a wider format.
      let value =
        exponent == 0
        ? Double(mantissa) / 1024 / 16384
        : Double(sign: .plus, exponent: exponent - 15, significand: 1 + Double(mantissa) / 1024)
      return Float(value).bitPattern | sign << 31
    }
    #expect(try Self.widen(.f16, bytes) == expected)
  }

  @Test("The first of two F4 elements in a byte is the low nibble")
  func nibbles() throws {
    // The code of 0.5 is 1, of -6 is 15, and of 2 is 4.
    #expect(try Self.widen(.f4, [0xF1, 0x04]).map(Float.init(bitPattern:)) == [0.5, -6, 2, 0])
  }

  @Test("The first of four 6-bit elements in three bytes is in the lowest bits")
  func sixes() throws {
    // In E3M2, the codes of 0.25, 1, -28, 0.0625 are 4, 12, 63, 1; from the top, the bits are 000001 111111 001100 000100.
    let values = try Self.widen(.f6e3m2, [0b0000_0100, 0b1111_0011, 0b0000_0111]).map(Float.init(bitPattern:))
    #expect(values == [0.25, 1, -28, 0.0625])
  }

  @Test(
    "Any number of elements is widened, including the last one",
    arguments: DType.allCases.filter { $0.widening != nil })
  func counts(dtype: DType) throws {
    // Groups of 4 elements are whole bytes in each dtype.
    let bytes = TensorData.bytes(dtype.name, [400], seed: 7)
    let whole = try Self.widen(dtype, bytes)
    for count in stride(from: 0, through: 400, by: 4) {
      let part = Array(bytes.prefix(count * Int(dtype.bitSize) / 8))
      #expect(try Self.widen(dtype, part) == whole.prefix(count).map(\.self), "\(count) elements")
    }
  }

  @Test("Any part of a widened tensor equals that part of the whole", arguments: [1, 2] as [UInt64])
  func windows(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    for dtype in DType.allCases {
      guard let widening = dtype.widening else { continue }
      // The tensor is larger than the buffer of one read.
      let count = 120_000
      let file = SafetensorsFile(
        [.init("before", "U8", [Int.random(in: 0...9, using: &generator)]), .init("t", dtype.name, [count])])
      let sample = try SampleModel(file)
      let shard = try sample.model.shards[0]
      let index = try #require(shard.header.index(of: TensorName("t")))
      let raw = try #require(FileLayout(of: shard.header[index], in: shard))
      let layout = try #require(
        WidenedElements(raw, widening).flatMap { FileLayout([.computed($0)]) })
      let whole = try Self.widen(dtype, file.tensors[1].data).bytes
      for _ in 0..<60 {
        let lower = Int.random(in: 0...whole.count, using: &generator)
        let size = generator.oneIn(4) ? whole.count : Int.random(in: 0...50, using: &generator)
        let upper = min(lower + size, whole.count)
        #expect(try layout.bytes(UInt64(lower)..<UInt64(upper)) == Array(whole[lower..<upper]))
      }
    }
  }
}

extension [UInt32] {
  /// The bytes of the numbers in memory.
  fileprivate var bytes: [UInt8] { unsafe withUnsafeBytes { unsafe [UInt8]($0) } }
}
