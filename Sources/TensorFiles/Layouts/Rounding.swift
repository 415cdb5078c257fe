internal import Safetensors

/// Rounding of float32 or float64 to a narrower type: to the nearest value, ties to even, as in NumPy and ml_dtypes.
struct Rounding: Sendable {
  /// True if the source elements have eight bytes, not four.
  let isDouble: Bool
  /// F16, BF16 or F32.
  let target: DType
  /// True if a NaN becomes the default quiet NaN, as in ml_dtypes; otherwise it keeps its payload, as in NumPy.
  let hasPlainNaN: Bool
  /// True if values beyond the largest become the largest, not infinity.
  let saturates: Bool

  /// The sizes of an element, in bytes.
  var sourceSize: Int { isDouble ? 8 : 4 }
  var targetSize: Int { target == .f32 ? 4 : 2 }

  /// Rounds `count` elements, and returns the number of finite ones beyond the largest. Both addresses are aligned to an
  /// element.
  @unsafe func round(_ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int) -> Int {
    if isDouble {
      let doubles = unsafe source.assumingMemoryBound(to: UInt64.self)
      switch self.target {
      case .f32:
        let floats = unsafe target.assumingMemoryBound(to: UInt32.self)
        return unsafe loop(doubles, floats, count, infinity: 0x7F80_0000) { double in
          Float(Double(bitPattern: double)).bitPattern
        }
      case .bf16:
        // Through float32, as in ml_dtypes.
        return unsafe loop(doubles, target.assumingMemoryBound(to: UInt16.self), count, infinity: 0x7F80) {
          double in
          Self.brain(Float(Double(bitPattern: double)).bitPattern)
        }
      default:
        return unsafe loop(doubles, target.assumingMemoryBound(to: UInt16.self), count, infinity: 0x7C00) {
          double in
          Self.half(double)
        }
      }
    }
    let floats = unsafe source.assumingMemoryBound(to: UInt32.self)
    let halves = unsafe target.assumingMemoryBound(to: UInt16.self)
    if self.target == .bf16 {
      return unsafe loop(floats, halves, count, infinity: 0x7F80) { Self.brain($0) }
    }
    let hasPlainNaN = hasPlainNaN
    return unsafe loop(floats, halves, count, infinity: 0x7C00) { Self.half($0, hasPlainNaN) }
  }

  /// `infinity` is the target's, and the largest finite value is one less.
  @inline(__always)
  private func loop<Source: FixedWidthInteger & UnsignedInteger, Target: FixedWidthInteger & UnsignedInteger>(
    _ source: UnsafePointer<Source>, _ target: UnsafeMutablePointer<Target>, _ count: Int, infinity: Target,
    _ round: (Source) -> Target
  ) -> Int {
    // Shifted by one to remove the sign.
    let sourceInfinity = (Source.bitWidth == 64 ? Source(0x7FF) << 52 : Source(0xFF) << 23) << 1
    var overflows = 0
    for position in 0..<count {
      let element = unsafe source[position]
      var rounded = round(element)
      if rounded << 1 == infinity << 1, element << 1 != sourceInfinity {
        overflows += 1
        if saturates { rounded -= 1 }
      }
      unsafe target[position] = rounded
    }
    return overflows
  }

  /// bfloat16 of the bits of a float32.
  private static func brain(_ float: UInt32) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: float >> 16) & 0x8000
    if float & 0x7FFF_FFFF > 0x7F80_0000 { return sign | 0x7FC0 }
    return UInt16(truncatingIfNeeded: (float &+ 0x7FFF &+ (float >> 16 & 1)) >> 16)
  }

  /// binary16 of the bits of a float32.
  private static func half(_ float: UInt32, _ hasPlainNaN: Bool) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: float >> 16) & 0x8000
    let magnitude = float & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 {
      let payload = UInt16(truncatingIfNeeded: magnitude >> 13 & 0x3FF)
      return sign | 0x7C00 | (hasPlainNaN ? 0x200 : max(payload, 1))
    }
    // 65520 and more.
    if magnitude >= 0x477F_F000 { return sign | 0x7C00 }
    // Below 2^-14, the sum with 0.5 has the step size of binary16.
    if magnitude < 0x3880_0000 {
      let sum = (Float(bitPattern: magnitude) + 0.5).bitPattern
      return sign | UInt16(truncatingIfNeeded: sum &- Float(0.5).bitPattern)
    }
    let rounded = magnitude &+ 0xFFF &+ (magnitude >> 13 & 1) &- 112 << 23
    return sign | UInt16(truncatingIfNeeded: rounded >> 13)
  }

  /// binary16 of the bits of a float64, in one step.
  private static func half(_ double: UInt64) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: double >> 48) & 0x8000
    let magnitude = double & 0x7FFF_FFFF_FFFF_FFFF
    if magnitude > 0x7FF << 52 {
      return sign | 0x7C00 | max(UInt16(truncatingIfNeeded: magnitude >> 42 & 0x3FF), 1)
    }
    if magnitude >= 0x40EF_FE00_0000_0000 { return sign | 0x7C00 }
    if magnitude < 0x3F10_0000_0000_0000 {
      let unit = Double(1 << 28)
      return sign
        | UInt16(truncatingIfNeeded: (Double(bitPattern: magnitude) + unit).bitPattern &- unit.bitPattern)
    }
    let rounded = magnitude &+ 0x1FF_FFFF_FFFF &+ (magnitude >> 42 & 1) &- 1008 << 52
    return sign | UInt16(truncatingIfNeeded: rounded >> 42)
  }
}
