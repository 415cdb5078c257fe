internal import Models
internal import Safetensors

/// The inner loops of dequantising: codes to float32. Their callers keep to the sizes of all memory.
///
/// Written with pointers and in vectors of four, which every processor has; checks in each step would keep the loops from
/// becoming vector instructions.
enum DequantizationKernels {
  private typealias Four = SIMD4<Float>

  /// `count` numbers of codes of one byte each, which share a scale and a zero point.
  @unsafe static func bytes(
    _ codes: UnsafePointer<UInt8>, _ values: UnsafePointer<Float>, scale: Float, zero: Float, count: Int,
    into target: UnsafeMutableRawPointer
  ) {
    let scales = Four(repeating: scale)
    let zeros = Four(repeating: zero)
    var index = 0
    if zero == 0 {
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

  /// As ``bytes(_:_:scale:zero:count:into:)``, with a scale and a zero point for each number; without `zeros` these are 0.
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

  /// `2 * count` numbers of `count` bytes with two codes in each, which share a scale and a zero point. `pairs` has both
  /// values of each byte.
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

  /// Multiplies numbers by one more factor.
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

// MARK: - Codes of other widths

extension QuantizedCodes {
  /// Where the codes of columns `range` are in a row of bytes: whole bytes, or words.
  func bytes(of range: Range<UInt64>) -> Range<UInt64> {
    let width = UInt64(width)
    switch packing {
    case .stream, .highNibbleFirst:
      // Cannot overflow: the row is in a file. Eight columns have a whole number of bytes.
      return range.lowerBound / 8 * width..<min(rowBytes, (range.upperBound + 7) / 8 * width)
    case .words:
      let perWord = 32 / width
      return range.lowerBound / perWord * 4..<(range.upperBound + perWord - 1) / perWord * 4
    case .bytePlanes: return range
    case .wordPlanes: return range.lowerBound * 4..<range.upperBound * 4
    }
  }

  /// The first column whose code is in the bytes that ``bytes(of:)`` gives for columns from `column` on.
  func firstColumn(for column: UInt64) -> UInt64 {
    switch packing {
    case .stream, .highNibbleFirst: column / 8 * 8
    case .words: column / (32 / UInt64(width)) * (32 / UInt64(width))
    case .bytePlanes, .wordPlanes: column
    }
  }

  /// Writes one code to each byte of `target`: those of `count` columns from `first` on, counted from where `source`
  /// begins. `row` is the row of numbers. Up to 8 bytes behind the codes are read too.
  @unsafe func unpack(
    _ source: UnsafePointer<UInt8>, first: Int, count: Int, row: UInt64,
    into target: UnsafeMutablePointer<UInt8>
  ) {
    let mask = UInt8(truncatingIfNeeded: 1 << width - 1)
    switch packing {
    case .stream: unsafe unpackStream(source, first, count, mask, target)
    case .words:
      let perWord = 32 / width
      for index in 0..<count {
        let column = first &+ index
        let word = unsafe UnsafeRawPointer(source).loadUnaligned(
          fromByteOffset: column / perWord &* 4, as: UInt32.self)
        let shift = UInt32(truncatingIfNeeded: column % perWord &* width)
        unsafe target[index] = UInt8(truncatingIfNeeded: UInt32(littleEndian: word) >> shift) & mask
      }
    case .highNibbleFirst:
      for index in 0..<count {
        let byte = unsafe source[(first &+ index) / 2]
        unsafe target[index] = (first &+ index) & 1 == 0 ? byte >> 4 : byte & 15
      }
    case .bytePlanes:
      let shift = UInt8(row & 1) &* 4
      for index in 0..<count { unsafe target[index] = source[first &+ index] &>> shift & 15 }
    case .wordPlanes:
      let shift = UInt32(Self.awqOrder[Int(row & 7)]) &* 4
      let words = unsafe UnsafeRawPointer(source)
      for index in 0..<count {
        let word = unsafe words.loadUnaligned(fromByteOffset: (first &+ index) &* 4, as: UInt32.self)
        unsafe target[index] = UInt8(truncatingIfNeeded: UInt32(littleEndian: word) &>> shift) & 15
      }
    }
  }

  @unsafe private func unpackStream(
    _ source: UnsafePointer<UInt8>, _ first: Int, _ count: Int, _ mask: UInt8,
    _ target: UnsafeMutablePointer<UInt8>
  ) {
    var index = 0
    // Eight columns are `width` bytes, and begin at a byte.
    while index < count {
      let column = first &+ index
      let word = unsafe UnsafeRawPointer(source).loadUnaligned(
        fromByteOffset: column / 8 &* width, as: UInt64.self)
      var bits = UInt64(littleEndian: word) &>> UInt64(column % 8 &* width)
      let step = min(8 &- column % 8, count &- index)
      for position in 0..<step {
        unsafe target[index &+ position] = UInt8(truncatingIfNeeded: bits) & mask
        bits = bits &>> UInt64(width)
      }
      index &+= step
    }
  }
}
