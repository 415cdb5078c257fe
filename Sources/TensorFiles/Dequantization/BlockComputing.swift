internal import Models

extension BlockParts {
  /// Computes the numbers of the block that was read.
  @unsafe mutating func compute(
    _ block: NumberBlock, _ table: CodeTable, into target: UnsafeMutableRawPointer
  ) {
    let count = block.columns.count
    for row in block.rows {
      let place = unsafe target + Int(row - block.rows.lowerBound) * count * 4
      unsafe computeRow(row, block.columns, table, into: place)
      if let factor = arithmetic.factor {
        unsafe DequantizationKernels.multiply(place, by: factor, count: count)
      }
    }
  }

  /// The offset of a row's codes in the bytes that were read, and the number of columns before the requested
  /// ones.
  private func codePlace(_ row: UInt64, _ columns: Range<UInt64>) -> (offset: Int, skipped: Int) {
    let codes = arithmetic.codes
    let start = row / codes.planes * codes.rowBytes + codes.bytes(of: columns).lowerBound
    return (
      Int(start - codeRange.lowerBound), Int(columns.lowerBound - codes.firstColumn(for: columns.lowerBound))
    )
  }

  /// The index of a row's first scale among those that were read. Negative if the block does not begin with
  /// the row.
  private func scaleLine(_ row: UInt64) -> Int {
    let grid = arithmetic.scales.blocks
    return Int(grid.row(of: row) * grid.columns) - Int(firstScale)
  }

  // MARK: - One row

  /// Computes `columns` of one row.
  @unsafe private mutating func computeRow(
    _ row: UInt64, _ columns: Range<UInt64>, _ table: CodeTable, into target: UnsafeMutableRawPointer
  ) {
    let codes = arithmetic.codes
    let (offset, skipped) = codePlace(row, columns)
    let line = scaleLine(row)
    let isPerColumn = arithmetic.scales.blocks.columnBlock == 1 || arithmetic.groupIndex != nil
    let isNibble = codes.width == 4 && codes.planes == 1 && !isPerColumn
    let isByte = codes.width == 8
    if !isNibble, !isByte { unpack(row, columns.count, from: offset, skipped) }
    if arithmetic.groupIndex != nil { gather(line, columns.count) }

    unsafe self.codes.withUnsafeBufferPointer { all in
      unsafe unpacked.withUnsafeBufferPointer { unpacked in
        guard let all = all.baseAddress else { return }
        // Codes of one byte begin at a multiple of eight columns.
        let source =
          unsafe isByte ? all + offset + skipped : isNibble ? all + offset : unpacked.baseAddress ?? all
        if isPerColumn {
          unsafe computeColumns(columns, source, table, line, into: target)
        } else {
          unsafe computeGroups(columns, source, table, line, nibble: isNibble ? skipped : nil, into: target)
        }
      }
    }
  }

  /// Unpacks the codes of a row to one byte each.
  private mutating func unpack(_ row: UInt64, _ count: Int, from offset: Int, _ skipped: Int) {
    unpacked.grow(to: count)
    unsafe codes.withUnsafeBufferPointer { source in
      unsafe unpacked.withUnsafeMutableBufferPointer { bytes in
        guard let source = source.baseAddress, let bytes = bytes.baseAddress else { return }
        unsafe arithmetic.codes.unpack(source + offset, first: skipped, count: count, row: row, into: bytes)
      }
    }
  }

  /// Looks up the scale and zero point of each column, through the group index.
  private mutating func gather(_ line: Int, _ count: Int) {
    columnScales.grow(to: count)
    for column in 0..<count { columnScales[column] = scales[line + groups[column]] }
    guard arithmetic.zeros != nil else { return }
    columnZeros.grow(to: count)
    for column in 0..<count { columnZeros[column] = zeros[line + groups[column]] }
  }

  /// Computes a row with one scale per column.
  @unsafe private func computeColumns(
    _ columns: Range<UInt64>, _ codes: UnsafePointer<UInt8>, _ table: CodeTable, _ line: Int,
    into target: UnsafeMutableRawPointer
  ) {
    let isGathered = arithmetic.groupIndex != nil
    let start = isGathered ? 0 : line + Int(columns.lowerBound)
    unsafe (isGathered ? columnScales : scales).withUnsafeBufferPointer { scales in
      unsafe (isGathered ? columnZeros : zeros).withUnsafeBufferPointer { zeros in
        unsafe table.values.withUnsafeBufferPointer { values in
          guard let scales = scales.baseAddress, let values = values.baseAddress else { return }
          let zeros = unsafe arithmetic.zeros == nil ? nil : zeros.baseAddress.map { unsafe $0 + start }
          unsafe DequantizationKernels.bytes(
            codes, values, scales: scales + start, zeros: zeros, count: columns.count, into: target)
        }
      }
    }
  }

  /// Computes a row with one scale per group of columns. `nibble` is the position of the first column among
  /// the nibbles of `codes`; nil if each code has a byte.
  @unsafe private func computeGroups(
    _ columns: Range<UInt64>, _ codes: UnsafePointer<UInt8>, _ table: CodeTable, _ line: Int, nibble: Int?,
    into target: UnsafeMutableRawPointer
  ) {
    let isLowFirst = arithmetic.codes.packing != .highNibbleFirst
    let hasZeros = arithmetic.zeros != nil
    let size = Int(arithmetic.scales.blocks.columnBlock)
    let end = Int(columns.upperBound)
    let start = Int(columns.lowerBound)
    unsafe (isLowFirst ? table.lowFirst : table.highFirst).withUnsafeBufferPointer { pairs in
      unsafe table.values.withUnsafeBufferPointer { values in
        unsafe scales.withUnsafeBufferPointer { scales in
          unsafe zeros.withUnsafeBufferPointer { zeros in
            guard let values = values.baseAddress else { return }
            var column = start
            var group = column / size
            while column < end {
              let next = min((group &+ 1) &* size, end)
              let scale = unsafe scales[line &+ group]
              let zero = unsafe hasZeros ? zeros[line &+ group] : 0
              let place = unsafe target + (column &- start) &* 4
              if let nibble, let pairs = pairs.baseAddress {
                unsafe computeNibbles(
                  codes, values, pairs, scale, zero, nibble &+ column &- start, next &- column, isLowFirst,
                  place)
              } else {
                unsafe DequantizationKernels.bytes(
                  codes + (column &- start), values, table.float8, scale: scale, zero: zero,
                  count: next &- column, into: place)
              }
              column = next
              group &+= 1
            }
          }
        }
      }
    }
  }

  /// Computes `count` numbers from nibble `first` on. A nibble whose byte is shared with a neighbour outside
  /// is computed separately.
  @unsafe private func computeNibbles(
    _ codes: UnsafePointer<UInt8>, _ values: UnsafePointer<Float>, _ pairs: UnsafePointer<SIMD2<Float>>,
    _ scale: Float, _ zero: Float, _ first: Int, _ count: Int, _ isLowFirst: Bool,
    _ target: UnsafeMutableRawPointer
  ) {
    func single(_ position: Int, _ place: UnsafeMutableRawPointer) {
      let byte = unsafe codes[position / 2]
      let isLow = (position & 1 == 0) == isLowFirst
      let value = unsafe (values[Int(isLow ? byte & 15 : byte >> 4)] - zero) * scale
      unsafe place.storeBytes(of: value, as: Float.self)
    }
    let head = first & 1
    if head == 1 { unsafe single(first, target) }
    let whole = (count &- head) / 2
    unsafe DequantizationKernels.pairs(
      codes + (first &+ head) / 2, pairs, scale: scale, zero: zero, count: whole, into: target + head &* 4)
    if head &+ 2 &* whole < count {
      unsafe single(first &+ count &- 1, target + (count &- 1) &* 4)
    }
  }
}
