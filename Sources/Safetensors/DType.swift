/// An element type, with its name in headers.
///
/// The 22 names and their widths are those of the safetensors format; a name matches by exact case.
package enum DType: UInt8, CaseIterable, Sendable {
  // In the order in which the reference writer lays tensors out, ascending by alignment.
  case bool, f4, f6e2m3, f6e3m2, u8, i8, f8e5m2, f8e4m3, f8e8m0, f8e4m3fnuz, f8e5m2fnuz
  case i16, u16, f16, bf16, i32, u32, f32, c64, f64, i64, u64

  /// The name in a header, such as `BF16`.
  package var name: String {
    switch self {
    case .bool: "BOOL"
    case .f4: "F4"
    case .f6e2m3: "F6_E2M3"
    case .f6e3m2: "F6_E3M2"
    case .u8: "U8"
    case .i8: "I8"
    case .f8e5m2: "F8_E5M2"
    case .f8e4m3: "F8_E4M3"
    case .f8e8m0: "F8_E8M0"
    case .f8e4m3fnuz: "F8_E4M3FNUZ"
    case .f8e5m2fnuz: "F8_E5M2FNUZ"
    case .i16: "I16"
    case .u16: "U16"
    case .f16: "F16"
    case .bf16: "BF16"
    case .i32: "I32"
    case .u32: "U32"
    case .f32: "F32"
    case .c64: "C64"
    case .f64: "F64"
    case .i64: "I64"
    case .u64: "U64"
    }
  }

  /// The width of one logical element, in bits. Elements narrower than a byte are packed without gaps.
  package var bitSize: UInt64 {
    switch self {
    case .f4: 4
    case .f6e2m3, .f6e3m2: 6
    case .bool, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
    case .i16, .u16, .f16, .bf16: 16
    case .i32, .u32, .f32: 32
    case .c64, .f64, .i64, .u64: 64
    }
  }

  /// The size in bits of a tensor of this shape, or nil on overflow: the product of the shape from left to right, then of
  /// the width. The order decides what overflows: `[0, 2^63, 4]` is empty, `[2^63, 4, 0]` is refused, as in the
  /// reference.
  package func bitCount(of shape: ArraySlice<UInt64>) -> UInt64? {
    var product: UInt64 = 1
    var overflowed = false
    for dimension in shape where !overflowed {
      (product, overflowed) = product.multipliedReportingOverflow(by: dimension)
    }
    if !overflowed { (product, overflowed) = product.multipliedReportingOverflow(by: bitSize) }
    return overflowed ? nil : product
  }

  /// The size in bytes of a tensor of this shape; nil if it does not fit in 64 bits or is not a whole number.
  package func byteCount(of shape: ArraySlice<UInt64>) -> UInt64? {
    guard let bits = bitCount(of: shape), bits % 8 == 0 else { return nil }
    return bits / 8
  }

  private static let byName = [[UInt8]: DType](
    uniqueKeysWithValues: allCases.map { (Array($0.name.utf8), $0) })

  /// The type whose header name is exactly these UTF-8 bytes, or nil.
  package init?(utf8 name: [UInt8]) {
    guard let match = Self.byName[name] else { return nil }
    self = match
  }
}
