/// Pseudo-random contents for tensors, the same in every run.
public enum TensorData {
  /// The width of one element of each dtype, in bits. This repeats the library's table, so that a mistake there is
  /// detected.
  public static let bitSizes: KeyValuePairs<String, Int> = [
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32,
    "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
  ]

  /// The size of a tensor in bytes. Rounded up if the number of bits is not a multiple of 8, and 0 for an unknown
  /// dtype.
  public static func byteCount(_ dtype: String, _ shape: [Int]) -> Int {
    let width = bitSizes.first { $0.key == dtype }?.value ?? 0
    return (shape.reduce(1, *) * width + 7) / 8
  }

  /// Pseudo-random bytes for `dtype` and `shape`; 0 and 1 for BOOL.
  public static func bytes(_ dtype: String, _ shape: [Int], seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    let bytes = generator.bytes(byteCount(dtype, shape))
    return dtype == "BOOL" ? bytes.map { $0 & 1 } : bytes
  }
}
