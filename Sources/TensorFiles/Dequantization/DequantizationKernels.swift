/// The inner loops that turn codes into float32. Callers guarantee the sizes of all buffers.
///
/// They use pointers, since bounds checks in each step would prevent vectorisation, and vectors of four,
/// which each processor has. ``Float8Vectors`` has a loop for newer processors.
enum DequantizationKernels {
  private typealias Four = SIMD4<Float>

  /// Computes `count` numbers from codes of one byte each, with a common scale and zero point. `float8`
  /// handles FP8 codes.
  @unsafe static func bytes(
    _ codes: UnsafePointer<UInt8>, _ values: UnsafePointer<Float>, _ float8: Float8Vectors?, scale: Float,
    zero: Float, count: Int, into target: UnsafeMutableRawPointer
  ) {
    let scales = Four(repeating: scale)
    let zeros = Four(repeating: zero)
    var index = 0
    if zero == 0 {
      if let float8 { index = unsafe float8.compute(codes, scale: scale, count: count, into: target) }
      while index &+ 4 <= count {
        unsafe target.storeBytes(
          of: look(codes + index, values) * scales, toByteOffset: 4 &* index, as: Four.self)
        index &+= 4
      }
    } else {
      while index &+ 4 <= count {
        let four = unsafe (look(codes + index, values) - zeros) * scales
        unsafe target.storeBytes(of: four, toByteOffset: 4 &* index, as: Four.self)
        index &+= 4
      }
    }
    while index < count {
      let value = unsafe (values[Int(codes[index])] - zero) * scale
      unsafe target.storeBytes(of: value, toByteOffset: 4 &* index, as: Float.self)
      index &+= 1
    }
  }

  /// Like ``bytes(_:_:scale:zero:count:into:)``, with a scale and zero point per number. Without `zeros`,
  /// zero points are 0.
  @unsafe static func bytes(
    _ codes: UnsafePointer<UInt8>, _ values: UnsafePointer<Float>, scales: UnsafePointer<Float>,
    zeros: UnsafePointer<Float>?, count: Int, into target: UnsafeMutableRawPointer
  ) {
    var index = 0
    if let zeros = unsafe zeros {
      while index &+ 4 <= count {
        let four = unsafe (look(codes + index, values) - load(zeros + index)) * load(scales + index)
        unsafe target.storeBytes(of: four, toByteOffset: 4 &* index, as: Four.self)
        index &+= 4
      }
    } else {
      while index &+ 4 <= count {
        let four = unsafe look(codes + index, values) * load(scales + index)
        unsafe target.storeBytes(of: four, toByteOffset: 4 &* index, as: Four.self)
        index &+= 4
      }
    }
    while index < count {
      let zero = unsafe zeros.map { unsafe $0[index] } ?? 0
      let value = unsafe (values[Int(codes[index])] - zero) * scales[index]
      unsafe target.storeBytes(of: value, toByteOffset: 4 &* index, as: Float.self)
      index &+= 1
    }
  }

  /// Computes `2 * count` numbers from `count` bytes of two codes, with a common scale and zero point.
  /// `pairs` has both values of each byte.
  @unsafe static func pairs(
    _ codes: UnsafePointer<UInt8>, _ pairs: UnsafePointer<SIMD2<Float>>, scale: Float, zero: Float,
    count: Int,
    into target: UnsafeMutableRawPointer
  ) {
    let scales = Four(repeating: scale)
    let zeros = Four(repeating: zero)
    var index = 0
    if zero == 0 {
      while index &+ 2 <= count {
        let four =
          unsafe Four(lowHalf: pairs[Int(codes[index])], highHalf: pairs[Int(codes[index &+ 1])]) * scales
        unsafe target.storeBytes(of: four, toByteOffset: 8 &* index, as: Four.self)
        index &+= 2
      }
    } else {
      while index &+ 2 <= count {
        let values = unsafe Four(lowHalf: pairs[Int(codes[index])], highHalf: pairs[Int(codes[index &+ 1])])
        let four = (values - zeros) * scales
        unsafe target.storeBytes(of: four, toByteOffset: 8 &* index, as: Four.self)
        index &+= 2
      }
    }
    if index < count {
      let two = unsafe (pairs[Int(codes[index])] - zeros.lowHalf) * scales.lowHalf
      unsafe target.storeBytes(of: two, toByteOffset: 8 &* index, as: SIMD2<Float>.self)
    }
  }

  /// Multiplies numbers by a factor.
  @unsafe static func multiply(_ target: UnsafeMutableRawPointer, by factor: Float, count: Int) {
    for index in 0..<count {
      let value = unsafe target.loadUnaligned(fromByteOffset: 4 &* index, as: Float.self) * factor
      unsafe target.storeBytes(of: value, toByteOffset: 4 &* index, as: Float.self)
    }
  }

  @inline(__always)
  private static func look(_ codes: UnsafePointer<UInt8>, _ values: UnsafePointer<Float>) -> Four {
    unsafe Four(values[Int(codes[0])], values[Int(codes[1])], values[Int(codes[2])], values[Int(codes[3])])
  }

  @inline(__always)
  private static func load(_ floats: UnsafePointer<Float>) -> Four {
    unsafe UnsafeRawPointer(floats).loadUnaligned(as: Four.self)
  }
}
