/// The inner loops of widening. Memory is little-endian on both sides, on any processor.
enum WideningLoop: Sendable {
  case bfloat16
  case half
  /// A float32 for each byte.
  case bytes([UInt32])
  /// Two float32 for each byte, the one of the low half first.
  case nibbles([UInt64])
  /// A float32 for each 6 bits, four of them in three bytes.
  case sixes([UInt32])

  /// Widens `count` groups. Both sides have that many groups and do not overlap; `target` is aligned to 8 bytes and
  /// `source` to 2.
  @unsafe func run(_ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int) {
    switch self {
    case .bfloat16: unsafe widenBFloat16(source, target, count)
    case .half: unsafe widenHalf(source, target, count)
    case .bytes(let table): unsafe widenBytes(source, target, count, table)
    case .nibbles(let table): unsafe widenBytes(source, target, count, table)
    case .sixes(let table): unsafe widenSixes(source, target, count, table)
    }
  }
}

// Pointers rather than spans, whose bounds checks in each step would prevent vectorisation.

/// The upper half of a float32 is moved into place, in either byte order. Written in vectors, which are a tenth faster
/// than the compiler's code for the plain loop: as fast as memory.
private func widenBFloat16(_ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int) {
  let source = unsafe source.assumingMemoryBound(to: UInt16.self)
  let target = unsafe target.assumingMemoryBound(to: UInt16.self)
  var index = 0
  while index &+ 16 <= count {
    var wide = SIMD32<UInt16>()
    unsafe wide.oddHalf = UnsafeRawPointer(source + index).loadUnaligned(as: SIMD16<UInt16>.self)
    unsafe UnsafeMutableRawPointer(target + 2 &* index).storeBytes(of: wide, as: SIMD32<UInt16>.self)
    index &+= 16
  }
  while index < count {
    unsafe target[2 &* index] = 0
    unsafe target[2 &* index &+ 1] = source[index]
    index &+= 1
  }
}

/// Without branches, so that the loop becomes vector instructions on every processor. The hardware's own
/// conversion is not in x86-64's baseline.
private func widenHalf(_ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int) {
  let source = unsafe source.assumingMemoryBound(to: UInt16.self)
  let target = unsafe target.assumingMemoryBound(to: UInt32.self)
  /// The difference of the exponents' biases, 127 - 15, shifted to the exponent.
  let rebias: UInt32 = 112 << 23
  let lastExponent: UInt32 = 31 << 23
  /// 2^-14, the smallest normal number.
  let smallest: UInt32 = 113 << 23
  for index in 0..<count {
    let half = UInt32(unsafe UInt16(littleEndian: source[index]))
    let magnitude = (half & 0x7FFF) << 13
    let normal = magnitude &+ rebias
    // Infinity and NaN move from the last exponent to the last: 31 + 2 * 112 = 255.
    let number = magnitude >= lastExponent ? normal &+ rebias : normal
    // A subnormal's bits after a leading one are 2^-14 plus its value.
    let subnormal = Float(bitPattern: magnitude &+ smallest) - Float(bitPattern: smallest)
    let bits = magnitude < 1 << 23 ? subnormal.bitPattern : number
    unsafe target[index] = (bits | (half & 0x8000) << 16).littleEndian
  }
}

/// Writes the entry of each byte: one float32, or the two of its halves.
private func widenBytes<Floats: FixedWidthInteger>(
  _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int, _ table: [Floats]
) {
  let source = unsafe source.assumingMemoryBound(to: UInt8.self)
  let target = unsafe target.assumingMemoryBound(to: Floats.self)
  unsafe table.withUnsafeBufferPointer { table in
    guard table.count == 256, let table = table.baseAddress else { return }
    for index in 0..<count { unsafe target[index] = table[Int(source[index])].littleEndian }
  }
}

private func widenSixes(
  _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int, _ table: [UInt32]
) {
  let source = unsafe source.assumingMemoryBound(to: UInt8.self)
  let target = unsafe target.assumingMemoryBound(to: UInt32.self)
  unsafe table.withUnsafeBufferPointer { table in
    guard table.count == 64, let table = table.baseAddress else { return }
    for group in 0..<count {
      let bytes = unsafe source + 3 * group
      let bits = unsafe Int(bytes[0]) | Int(bytes[1]) << 8 | Int(bytes[2]) << 16
      let floats = unsafe target + 4 * group
      unsafe floats[0] = table[bits & 63].littleEndian
      unsafe floats[1] = table[bits >> 6 & 63].littleEndian
      unsafe floats[2] = table[bits >> 12 & 63].littleEndian
      unsafe floats[3] = table[bits >> 18].littleEndian
    }
  }
}
