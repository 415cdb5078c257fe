internal import CFloat8
internal import Safetensors

/// FP8 codes by the processor's vector instructions, several times as fast as a look-up for each.
struct Float8Vectors: Sendable {
  private static let arePresent = stmount_has_float8() != 0

  private let isE5M2: Bool

  /// Nil for other types, and where the processor lacks the instructions.
  init?(_ dtype: DType) {
    guard Self.arePresent, dtype == .f8e4m3 || dtype == .f8e5m2 else { return nil }
    isE5M2 = dtype == .f8e5m2
  }

  /// Numbers from the first of `count` codes with a common scale. Returns how many: whole vectors, and none where the scale is
  /// too large for them.
  @unsafe func compute(
    _ codes: UnsafePointer<UInt8>, scale: Float, count: Int, into target: UnsafeMutableRawPointer
  ) -> Int {
    // The instructions see E4M3 as numbers 256 times smaller; what is multiplied is exact nevertheless.
    guard (scale * 256).isFinite else { return 0 }
    return unsafe stmount_scale_float8(codes, target, count, isE5M2 ? 1 : 0, scale)
  }
}
