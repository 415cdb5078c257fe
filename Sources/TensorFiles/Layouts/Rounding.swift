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
          UInt64(Float(Double(bitPattern: double)).bitPattern)
        }
      case .bf16:
        // Through float32, as in ml_dtypes.
        return unsafe loop(doubles, target.assumingMemoryBound(to: UInt16.self), count, infinity: 0x7F80) {
          double in
          UInt64(Self.brain(Float(Double(bitPattern: double)).bitPattern))
        }
      default:
        return unsafe loop(doubles, target.assumingMemoryBound(to: UInt16.self), count, infinity: 0x7C00) {
          double in
          UInt64(Self.half(double))
        }
      }
    }
    let floats = unsafe source.assumingMemoryBound(to: UInt32.self)
    let halves = unsafe target.assumingMemoryBound(to: UInt16.self)
    if self.target == .bf16 {
      var overflows = 0
      for start in stride(from: 0, to: count, by: Self.piece) {
        let part = min(Self.piece, count - start)
        if unsafe Self.roundOrdinary(floats + start, halves + start, part) { continue }
        overflows += unsafe loop(floats + start, halves + start, part, infinity: 0x7F80) { Self.brain($0) }
      }
      return overflows
    }
    // Two loops, so that neither has a branch in it.
    return unsafe hasPlainNaN
      ? loop(floats, halves, count, infinity: 0x7C00) { Self.half($0, hasPlainNaN: true) }
      : loop(floats, halves, count, infinity: 0x7C00) { Self.half($0, hasPlainNaN: false) }
  }

  /// `infinity` is the target's, and the largest finite value is one less. `round` gives the target's bits in as many as the
  /// source has, and has no branches, so that the loop becomes vector instructions.
  @inline(__always)
  private func loop<Source: FixedWidthInteger & UnsignedInteger, Target: FixedWidthInteger & UnsignedInteger>(
    _ source: UnsafePointer<Source>, _ target: UnsafeMutablePointer<Target>, _ count: Int, infinity: Source,
    _ round: (Source) -> Source
  ) -> Int {
    // Shifted by one to remove the sign.
    let sourceInfinity = (Source.bitWidth == 64 ? Source(0x7FF) << 52 : Source(0xFF) << 23) << 1
    let magnitude = Source(Target.max >> 1)
    let excess: Source = saturates ? 1 : 0
    var overflows = 0
    var start = 0
    while start < count {
      // A counter as wide as the elements, which so many cannot overflow.
      let end = min(count, start &+ 1 << 20)
      var found: Source = 0
      for position in start..<end {
        let element = unsafe source[position]
        let rounded = round(element)
        let isBeyond = rounded & magnitude == infinity && element &<< 1 != sourceInfinity
        found &+= isBeyond ? 1 : 0
        unsafe target[position] = Target(truncatingIfNeeded: rounded &- (isBeyond ? excess : 0))
      }
      overflows += Int(found)
      start = end
    }
    return overflows
  }

  /// How many numbers are first treated as ordinary ones, together.
  private static let piece = 4096

  /// Rounds float32 to bfloat16, half the work where that is all there is to do. False if a number is NaN or infinite, or would
  /// become so; the result is then useless.
  @unsafe private static func roundOrdinary(
    _ source: UnsafePointer<UInt32>, _ target: UnsafeMutablePointer<UInt16>, _ count: Int
  ) -> Bool {
    var special: Int32 = 0
    for position in 0..<count {
      let float = unsafe source[position]
      special |= Int32(bitPattern: float & 0x7FFF_FFFF) >= 0x7F7F_8000 ? -1 : 0
      let rounded = Int32(bitPattern: float &+ 0x7FFF &+ (float &>> 16 & 1)) &>> 16
      unsafe target[position] = UInt16(truncatingIfNeeded: rounded)
    }
    return special == 0
  }

  /// bfloat16 of the bits of a float32.
  @inline(__always)
  private static func brain(_ float: UInt32) -> UInt32 {
    let isNaN = float & 0x7FFF_FFFF > 0x7F80_0000
    let rounded = (float &+ 0x7FFF &+ (float &>> 16 & 1)) &>> 16
    return isNaN ? float &>> 16 & 0x8000 | 0x7FC0 : rounded
  }

  /// binary16 of the bits of a float32.
  @inline(__always)
  private static func half(_ float: UInt32, hasPlainNaN: Bool) -> UInt32 {
    let magnitude = float & 0x7FFF_FFFF
    let payload = magnitude &>> 13 & 0x3FF
    let nan = 0x7C00 | (hasPlainNaN ? 0x200 : payload == 0 ? 1 : payload)
    // Below 2^-14, the sum with 0.5 has the step size of binary16.
    let sum = (Float(bitPattern: magnitude) + 0.5).bitPattern &- Float(0.5).bitPattern
    let normal = (magnitude &+ 0xFFF &+ (magnitude &>> 13 & 1) &- 112 << 23) &>> 13
    let finite = magnitude < 0x3880_0000 ? sum & 0xFFFF : normal
    // 65520 and more.
    let number = magnitude >= 0x477F_F000 ? 0x7C00 : finite
    return float &>> 16 & 0x8000 | (magnitude > 0x7F80_0000 ? nan : number)
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
