internal import Models
internal import Safetensors

/// The properties of each dtype that views need. To add a dtype, begin with DType.swift, then add its NumPy name or its widening here.
extension DType {
  /// The type's name in the headers of NumPy files; nil if NumPy has no such type.
  package var numPyName: StaticString? {
    switch self {
    case .bool: "|b1"
    case .u8: "|u1"
    case .i8: "|i1"
    case .i16: "<i2"
    case .u16: "<u2"
    case .f16: "<f2"
    case .i32: "<i4"
    case .u32: "<u4"
    case .f32: "<f4"
    case .c64: "<c8"
    case .f64: "<f8"
    case .i64: "<i8"
    case .u64: "<u8"
    case .bf16, .f4, .f6e2m3, .f6e3m2, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: nil
    }
  }

  /// The type's conversion to float32; nil if it would lose values, or is not needed.
  package var widening: Widening? { Self.widenings[self] }

  private static let widenings: [DType: Widening] = [
    .bf16: Widening(.bfloat16),
    .f16: Widening(.half),
    // OCP 8-bit floating point, and its variants without infinities and negative zero.
    .f8e5m2: Widening(.small(SmallFloat(exponent: 5, mantissa: 2, bias: 15, specials: .ieee))),
    .f8e4m3: Widening(.small(SmallFloat(exponent: 4, mantissa: 3, bias: 7, specials: .lastIsNaN))),
    .f8e5m2fnuz: Widening(.small(SmallFloat(exponent: 5, mantissa: 2, bias: 16, specials: .minusZeroIsNaN))),
    .f8e4m3fnuz: Widening(.small(SmallFloat(exponent: 4, mantissa: 3, bias: 8, specials: .minusZeroIsNaN))),
    // OCP microscaling formats.
    .f8e8m0: Widening(.small(.powersOfTwo)),
    .f6e2m3: Widening(.small(SmallFloat(exponent: 2, mantissa: 3, bias: 1, specials: .none))),
    .f6e3m2: Widening(.small(SmallFloat(exponent: 3, mantissa: 2, bias: 3, specials: .none))),
    .f4: Widening(.small(SmallFloat(exponent: 2, mantissa: 1, bias: 1, specials: .none))),
  ]
}
