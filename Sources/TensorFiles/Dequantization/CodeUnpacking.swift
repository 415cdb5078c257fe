internal import Models

extension QuantizedCodes {
  /// The range of whole bytes or words, in a row, that holds the codes of columns `range`.
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

  /// The first column with a code in the bytes that ``bytes(of:)`` returns for columns from `column` on.
  func firstColumn(for column: UInt64) -> UInt64 {
    switch packing {
    case .stream, .highNibbleFirst: column / 8 * 8
    case .words: column / (32 / UInt64(width)) * (32 / UInt64(width))
    case .bytePlanes, .wordPlanes: column
    }
  }

  /// Unpacks the codes of `count` columns to one byte each. `first` counts columns from the beginning of
  /// `source`. `row` is the row of numbers. Reads up to 8 bytes past the codes.
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
