package import Models
internal import Safetensors
package import SystemPackage

/// The float32 elements of a quantised tensor, computed from its sources when they are read.
///
/// Every read goes through pread(2). Memory is bounded, however much is read: ``blockSize`` elements of codes, scales and
/// zero points at a time, beside what the cache holds.
package struct DequantizedElements: ComputedElements {
  private let arithmetic: DequantizationArithmetic
  private let table: CodeTable
  private let cache: StripeCache

  /// How many elements are computed at a time; what belongs to them stays in the processor's cache.
  private static let blockSize: UInt64 = 32 << 10

  /// The elements of a tensor. All tensors of a model share a cache.
  package init(of tensor: QuantizedTensor, cache: StripeCache) {
    arithmetic = tensor.arithmetic
    table = CodeTable.table(of: arithmetic.codes)
    self.cache = cache
  }

  package var byteCount: UInt64 { arithmetic.count * 4 }

  // MARK: - Sources

  package func sources(of range: Range<UInt64>) -> [FileRange] {
    let elements = range.lowerBound / 4..<min(arithmetic.count, (range.upperBound + 3) / 4)
    guard !elements.isEmpty else { return [] }
    let rows = elements.lowerBound / arithmetic.columns..<(elements.upperBound - 1) / arithmetic.columns + 1
    let isPart = rows.count == 1
    let first = elements.lowerBound % arithmetic.columns
    let block = Block(
      rows: rows, columns: isPart ? first..<first + UInt64(elements.count) : 0..<arithmetic.columns)
    let scales = arithmetic.scales
    let blocks = scaleRange(block)
    var sources = [
      Self.source(arithmetic.codes.view, codeRange(block)),
      Self.source(scales.view, Self.bytes(blocks, of: scales.view)),
    ]
    if case .nested(_, let absmax, let size, _) = scales.form {
      let outer = blocks.lowerBound / size..<(blocks.upperBound - 1) / size + 1
      sources.append(Self.source(absmax, Self.bytes(outer, of: absmax)))
    }
    if let zeros = arithmetic.zeros { sources.append(FileRange(zeros.view.fileRange, of: zeros.view.file)) }
    if let index = arithmetic.groupIndex { sources.append(FileRange(index.fileRange, of: index.file)) }
    return sources
  }

  /// Part of a view; of one that is scattered over its file, an empty part.
  private static func source(_ view: TensorView, _ range: Range<UInt64>) -> FileRange {
    guard view.isContiguous else { return FileRange(0..<0, of: view.file) }
    return FileRange(view.start + range.lowerBound..<view.start + range.upperBound, of: view.file)
  }

  private static func bytes(_ elements: Range<UInt64>, of view: TensorView) -> Range<UInt64> {
    let width = view.dtype.bitSize / 8
    return elements.lowerBound * width..<elements.upperBound * width
  }

  // MARK: - Filling

  package func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    let end = offset + UInt64(target.byteCount)
    guard offset < end, end <= byteCount else { return }
    try unsafe target.withUnsafeMutableBytes { bytes throws(Errno) in
      guard let start = bytes.baseAddress else { return }
      var scratch = Scratch()
      // Whole elements go to where they belong, those at the edges by way of one of their own.
      let whole = (offset + 3) / 4..<max((offset + 3) / 4, end / 4)
      if offset % 4 != 0 { try unsafe edge(offset / 4, offset..<end, start, &scratch) }
      if end % 4 != 0, end / 4 >= whole.lowerBound { try unsafe edge(end / 4, offset..<end, start, &scratch) }
      try unsafe fill(whole, start + Int(min(whole.lowerBound * 4, end) - offset), &scratch)
    }
  }

  /// One element of which only a part is wanted: bytes `range`, which begin at `target`.
  private func edge(
    _ element: UInt64, _ range: Range<UInt64>, _ target: UnsafeMutableRawPointer, _ scratch: inout Scratch
  ) throws(Errno) {
    var value: Float = 0
    try unsafe withUnsafeMutableBytes(of: &value) { bytes throws(Errno) in
      guard let start = bytes.baseAddress else { return }
      try unsafe fill(element..<element + 1, start, &scratch)
    }
    let part = range.clamped(to: element * 4..<element * 4 + 4)
    let bits = value.bitPattern.littleEndian
    for position in part {
      let byte = UInt8(truncatingIfNeeded: bits >> UInt32((position - element * 4) * 8))
      unsafe target.storeBytes(of: byte, toByteOffset: Int(position - range.lowerBound), as: UInt8.self)
    }
  }

  /// Elements `range`, in blocks of whole rows, or of parts of one.
  private func fill(_ range: Range<UInt64>, _ target: UnsafeMutableRawPointer, _ scratch: inout Scratch)
    throws(Errno)
  {
    let columns = arithmetic.columns
    var element = range.lowerBound
    while element < range.upperBound {
      let rest = range.upperBound - element
      let row = element / columns
      let column = element % columns
      let place = unsafe target + Int((element - range.lowerBound) * 4)
      if column == 0, rest >= columns, columns <= Self.blockSize {
        let rows = min(rest, Self.blockSize) / columns
        try unsafe fill(Block(rows: row..<row + rows, columns: 0..<columns), place, &scratch)
        element += rows * columns
      } else {
        let count = min(columns - column, rest, Self.blockSize)
        try unsafe fill(Block(rows: row..<row + 1, columns: column..<column + count), place, &scratch)
        element += count
      }
    }
  }

  /// Whole rows, or a part of one.
  private struct Block {
    let rows: Range<UInt64>
    let columns: Range<UInt64>
  }

  /// Memory that the blocks of one read share.
  private struct Scratch {
    var codes: [UInt8] = []
    var bytes: [UInt8] = []
    var narrow: [UInt16] = []
    var scales: [Float] = []
    var zeros: [Float] = []
    var columnScales: [Float] = []
    var columnZeros: [Float] = []
    var index: [UInt8] = []
  }

  private func fill(_ block: Block, _ target: UnsafeMutableRawPointer, _ scratch: inout Scratch) throws(Errno)
  {
    let codes = arithmetic.codes
    let range = codeRange(block)
    // A few bytes more, since codes are taken out of words.
    scratch.codes.resize(range.count + 8)
    try read(codes.view, range, into: &scratch.codes)
    let blocks = scaleRange(block)
    try readScales(blocks, &scratch)
    try readZeros(blocks, &scratch)
    if let index = arithmetic.groupIndex {
      try read(index, Self.bytes(block.columns, of: index), into: &scratch.index)
    }

    let count = block.columns.count
    for row in block.rows {
      let place = unsafe target + Int(row - block.rows.lowerBound) * count * 4
      let line = Int(
        row / codes.planes * codes.rowBytes + codes.bytes(of: block.columns).lowerBound - range.lowerBound)
      unsafe fill(row, block.columns, line, blocks.lowerBound, place, &scratch)
      if let factor = arithmetic.factor {
        unsafe DequantizationKernels.multiply(place, by: factor, count: count)
      }
    }
  }

  /// The bytes of codes that a block needs, in the view.
  private func codeRange(_ block: Block) -> Range<UInt64> {
    let codes = arithmetic.codes
    let first = block.rows.lowerBound / codes.planes
    let last = (block.rows.upperBound - 1) / codes.planes
    let part = codes.bytes(of: block.columns)
    return first * codes.rowBytes + part.lowerBound..<last * codes.rowBytes + part.upperBound
  }

  // MARK: - Scales and zero points

  /// The blocks of scales that a block of elements needs, counted row by row.
  private func scaleRange(_ block: Block) -> Range<UInt64> {
    let grid = arithmetic.scales.blocks
    let first = grid.row(of: block.rows.lowerBound)
    let last = grid.row(of: block.rows.upperBound - 1)
    guard first == last, arithmetic.groupIndex == nil else {
      return first * grid.columns..<(last + 1) * grid.columns
    }
    return first * grid.columns + block.columns.lowerBound / grid.columnBlock..<first * grid.columns
      + (block.columns.upperBound - 1) / grid.columnBlock + 1
  }

  private func readScales(_ blocks: Range<UInt64>, _ scratch: inout Scratch) throws(Errno) {
    let scales = arithmetic.scales
    if case .nested(let map, let absmax, let size, let offset) = scales.form {
      try read(scales.view, blocks, into: &scratch.index)
      let outer = blocks.lowerBound / size..<(blocks.upperBound - 1) / size + 1
      try readFloats(absmax, outer, into: &scratch.columnScales, &scratch.narrow)
      scratch.scales.resize(blocks.count)
      for block in blocks {
        let position = Int(block - blocks.lowerBound)
        let code = Int(scratch.index[position])
        let product = map[code] * scratch.columnScales[Int(block / size - outer.lowerBound)]
        scratch.scales[position] = product + offset
      }
      return
    }
    try readFloats(scales.view, blocks, into: &scratch.scales, &scratch.narrow)
    switch scales.form {
    case .plain, .nested: break
    case .divided(let divisor): for index in 0..<blocks.count { scratch.scales[index] /= divisor }
    case .multiplied(let factor): for index in 0..<blocks.count { scratch.scales[index] *= factor }
    }
  }

  /// Elements of a view, widened to float32.
  private func readFloats(
    _ view: TensorView, _ elements: Range<UInt64>, into floats: inout [Float], _ narrow: inout [UInt16]
  ) throws(Errno) {
    let bytes = Self.bytes(elements, of: view)
    floats.resize(elements.count)
    guard let widening = view.dtype.widening else {
      try read(view, bytes, into: &floats)
      return
    }
    try read(view, bytes, into: &narrow)
    var target = floats.mutableSpan
    var wide = unsafe target.mutableBytes
    _ = unsafe widening.widen(narrow.span.bytes.extracting(0..<bytes.count), into: &wide)
  }

  /// Bytes of a view as they are stored.
  private func read<Element: Numeric & BitwiseCopyable>(
    _ view: TensorView, _ bytes: Range<UInt64>, into elements: inout [Element]
  ) throws(Errno) {
    elements.resize((bytes.count + MemoryLayout<Element>.size - 1) / MemoryLayout<Element>.size)
    var span = elements.mutableSpan
    var all = unsafe span.mutableBytes
    var target = all._mutatingExtracting(0..<bytes.count)
    try view.read(from: bytes.lowerBound, into: &target, through: cache)
  }

  private func readZeros(_ blocks: Range<UInt64>, _ scratch: inout Scratch) throws(Errno) {
    guard let zeros = arithmetic.zeros else { return }
    scratch.zeros.resize(blocks.count)
    if case .bytes = zeros.packing {
      try read(zeros.view, blocks, into: &scratch.index)
      for index in 0..<blocks.count { scratch.zeros[index] = Float(Int8(bitPattern: scratch.index[index])) }
      return
    }
    let stripes = ZeroPointStripes(zeros: zeros, rows: arithmetic.count / arithmetic.columns, cache: cache)
    try stripes.read(blocks, into: &scratch.zeros)
  }

  // MARK: - One row

  /// Columns `columns` of one row. The codes' bytes begin at `line` of the scratch memory, the scales there are those from
  /// block `firstBlock` on.
  private func fill(
    _ row: UInt64, _ columns: Range<UInt64>, _ line: Int, _ firstBlock: UInt64,
    _ target: UnsafeMutableRawPointer,
    _ scratch: inout Scratch
  ) {
    let codes = arithmetic.codes
    let grid = arithmetic.scales.blocks
    let count = columns.count
    let first = Int(columns.lowerBound - codes.firstColumn(for: columns.lowerBound))
    let isPerColumn = grid.columnBlock == 1 || arithmetic.groupIndex != nil
    let isNibble = codes.width == 4 && codes.planes == 1 && !isPerColumn
    let isByte = codes.width == 8
    if !isNibble, !isByte {
      scratch.bytes.resize(count)
      unsafe scratch.codes.withUnsafeBufferPointer { source in
        unsafe scratch.bytes.withUnsafeMutableBufferPointer { bytes in
          guard let source = source.baseAddress, let bytes = bytes.baseAddress else { return }
          unsafe codes.unpack(source + line, first: first, count: count, row: row, into: bytes)
        }
      }
    }
    // The position of the row's scales among those that were read.
    let scaleLine = Int(grid.row(of: row) * grid.columns) - Int(firstBlock)
    if arithmetic.groupIndex != nil { gather(scaleLine, count, &scratch) }

    unsafe scratch.codes.withUnsafeBufferPointer { all in
      unsafe scratch.bytes.withUnsafeBufferPointer { unpacked in
        unsafe scratch.scales.withUnsafeBufferPointer { scales in
          unsafe scratch.zeros.withUnsafeBufferPointer { zeros in
            unsafe table.values.withUnsafeBufferPointer { values in
              guard let all = all.baseAddress, let scales = scales.baseAddress,
                let values = values.baseAddress
              else { return }
              let hasZeros = arithmetic.zeros != nil
              let zeros = hasZeros ? zeros.baseAddress : nil
              let source = unsafe isByte || isNibble ? all + line : unpacked.baseAddress ?? all
              // Codes of one byte begin at the first column of eight.
              let bytes = unsafe isByte ? source + first : source
              if isPerColumn {
                unsafe fillColumns(columns, bytes, values, scales, zeros, scaleLine, target, scratch)
              } else {
                unsafe fillGroups(
                  columns, bytes, values, scales, zeros, scaleLine, isNibble ? first : nil, target)
              }
            }
          }
        }
      }
    }
  }

  /// A scale for each column.
  @unsafe private func fillColumns(
    _ columns: Range<UInt64>, _ codes: UnsafePointer<UInt8>, _ values: UnsafePointer<Float>,
    _ scales: UnsafePointer<Float>, _ zeros: UnsafePointer<Float>?, _ scaleLine: Int,
    _ target: UnsafeMutableRawPointer, _ scratch: borrowing Scratch
  ) {
    if arithmetic.groupIndex == nil {
      let start = scaleLine + Int(columns.lowerBound)
      unsafe DequantizationKernels.bytes(
        codes, values, scales: scales + start, zeros: zeros.map { unsafe $0 + start }, count: columns.count,
        into: target)
      return
    }
    unsafe scratch.columnScales.withUnsafeBufferPointer { columnScales in
      unsafe scratch.columnZeros.withUnsafeBufferPointer { columnZeros in
        guard let columnScales = columnScales.baseAddress else { return }
        let columnZeros = arithmetic.zeros == nil ? nil : columnZeros.baseAddress
        unsafe DequantizationKernels.bytes(
          codes, values, scales: columnScales, zeros: columnZeros, count: columns.count, into: target)
      }
    }
  }

  /// A scale for each group of columns. `nibble` is the position of the first column among the nibbles of `codes`; nil
  /// where each code has a byte.
  @unsafe private func fillGroups(
    _ columns: Range<UInt64>, _ codes: UnsafePointer<UInt8>, _ values: UnsafePointer<Float>,
    _ scales: UnsafePointer<Float>, _ zeros: UnsafePointer<Float>?, _ scaleLine: Int, _ nibble: Int?,
    _ target: UnsafeMutableRawPointer
  ) {
    let isLowFirst = arithmetic.codes.packing != .highNibbleFirst
    let pairTable = isLowFirst ? table.lowFirst : table.highFirst
    let size = Int(arithmetic.scales.blocks.columnBlock)
    let end = Int(columns.upperBound)
    let start = Int(columns.lowerBound)
    unsafe pairTable.withUnsafeBufferPointer { pairTable in
      var column = start
      var group = column / size
      while column < end {
        let next = min((group &+ 1) &* size, end)
        let scale = unsafe scales[scaleLine &+ group]
        let zero = unsafe zeros.map { unsafe $0[scaleLine &+ group] } ?? 0
        let place = unsafe target + (column &- start) &* 4
        if let nibble, let pairs = pairTable.baseAddress {
          unsafe fillNibbles(
            codes, values, pairs, scale, zero, nibble &+ column &- start, next &- column, isLowFirst, place)
        } else {
          unsafe DequantizationKernels.bytes(
            codes + (column &- start), values, scale: scale, zero: zero, count: next &- column, into: place)
        }
        column = next
        group &+= 1
      }
    }
  }

  /// `count` numbers from nibble `first` on. One that has its byte's other half elsewhere is done by itself.
  @unsafe private func fillNibbles(
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

  /// The scale and the zero point of each column, by the group that the index gives it.
  private func gather(_ scaleLine: Int, _ count: Int, _ scratch: inout Scratch) {
    let groups = Int(arithmetic.scales.blocks.columns)
    scratch.columnScales.resize(count)
    let hasZeros = arithmetic.zeros != nil
    if hasZeros { scratch.columnZeros.resize(count) }
    for column in 0..<count {
      var group: UInt32 = 0
      for byte in 0..<4 { group |= UInt32(scratch.index[4 * column + byte]) << UInt32(8 * byte) }
      // The file may have changed since its index was checked.
      let position = scaleLine + (group < groups ? Int(group) : 0)
      scratch.columnScales[column] = scratch.scales[position]
      if hasZeros { scratch.columnZeros[column] = scratch.zeros[position] }
    }
  }
}

extension RangeReplaceableCollection where Self: RandomAccessCollection, Element: Numeric {
  /// Makes room for that many elements. What they are is left to chance.
  fileprivate mutating func resize(_ wanted: Int) {
    if count < wanted { append(contentsOf: repeatElement(0, count: wanted - count)) }
  }
}
