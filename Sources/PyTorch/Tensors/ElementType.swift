/// A PyTorch element type, named as there: `torch.float32` is ``float32``.
package enum ElementType: String, CaseIterable, Sendable {
  case uint8, int8, bool, uint16, int16, uint32, int32, uint64, int64
  case float16, bfloat16, float32, float64
  case complex32, complex64, complex128
  case float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu, float4_e2m1fn_x2
  case qint8, quint8, qint32, quint4x2, quint2x4
  case bits8, bits16, bits1x8, bits2x4, bits4x2
  case int1, int2, int3, int4, int5, int6, int7
  case uint1, uint2, uint3, uint4, uint5, uint6, uint7

  /// The size of one element, in bytes: torch.dtype.itemsize. Values packed into one byte count as one
  /// element.
  package var byteCount: UInt64 {
    switch self {
    case .uint16, .int16, .float16, .bfloat16, .bits16: 2
    case .uint32, .int32, .float32, .complex32, .qint32: 4
    case .uint64, .int64, .float64, .complex64: 8
    case .complex128: 16
    default: 1
    }
  }

  /// The classes of typed storages, by their names in the module `torch`.
  static let storageClasses: KeyValuePairs<String, ElementType> = [
    "ByteStorage": .uint8, "CharStorage": .int8, "BoolStorage": .bool, "ShortStorage": .int16,
    "IntStorage": .int32, "LongStorage": .int64, "HalfStorage": .float16, "BFloat16Storage": .bfloat16,
    "FloatStorage": .float32, "DoubleStorage": .float64, "ComplexFloatStorage": .complex64,
    "ComplexDoubleStorage": .complex128, "QInt8Storage": .qint8, "QUInt8Storage": .quint8,
    "QInt32Storage": .qint32, "QUInt4x2Storage": .quint4x2, "QUInt2x4Storage": .quint2x4,
    // A storage without an element type; its size is in bytes.
    "UntypedStorage": .uint8,
  ]
}
