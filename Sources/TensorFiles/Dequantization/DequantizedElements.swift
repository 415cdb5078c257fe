package import Models
internal import Safetensors
package import SystemPackage

/// The float32 elements of a quantised tensor, computed from its sources at each read.
///
/// All reads use pread(2). Memory is bounded for any size of read: codes, scales and zero points of
/// ``blockSize`` elements at a time, plus the cache.
package struct DequantizedElements: ComputedElements {
  private let tensor: QuantizedTensor
  private let table: CodeTable
  private let cache: StripeCache

  private var arithmetic: DequantizationArithmetic { tensor.arithmetic }

  /// The number of elements that are computed at a time. Their parts fit into the processor's cache.
  private static let blockSize: UInt64 = 32 << 10

  /// The elements of a tensor. All tensors of a model share a cache.
  package init(of tensor: QuantizedTensor, cache: StripeCache) {
    self.tensor = tensor
    table = CodeTable.table(of: tensor.arithmetic.codes)
    self.cache = cache
  }

  package var byteCount: UInt64 { arithmetic.count * 4 }

  package func sources(of range: Range<UInt64>) -> [FileRange] {
    let elements = range.lowerBound / 4..<min(arithmetic.count, (range.upperBound + 3) / 4)
    guard !elements.isEmpty else { return [] }
    let rows = elements.lowerBound / arithmetic.columns..<(elements.upperBound - 1) / arithmetic.columns + 1
    let first = elements.lowerBound % arithmetic.columns
    let block = NumberBlock(
      rows: rows,
      columns: rows.count == 1 ? first..<first + UInt64(elements.count) : 0..<arithmetic.columns)
    let scales = arithmetic.scales
    let blocks = scales.range(of: block, isIndexed: arithmetic.groupIndex != nil)
    var sources =
      arithmetic.codes.view.sources(of: arithmetic.codes.range(of: block))
      + scales.view.sources(of: scales.view.bytes(of: blocks))
    if case .nested(_, let outer, let size, _) = scales.form {
      sources += outer.sources(of: outer.bytes(of: blocks.dividedOutward(by: size)))
    }
    for view in [arithmetic.zeros?.view, arithmetic.groupIndex].compactMap({ $0 }) {
      sources += view.sources(of: 0..<view.byteCount)
    }
    return sources
  }

  // MARK: - Filling

  package func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    let end = offset + UInt64(target.byteCount)
    guard offset < end, end <= byteCount else { return }
    try unsafe target.withUnsafeMutableBytes { bytes throws(Errno) in
      guard let start = bytes.baseAddress else { return }
      var parts = BlockParts(of: tensor, cache: cache)
      // Whole elements are written in place; partial ones at the ends go through a temporary.
      let whole = (offset + 3) / 4..<max((offset + 3) / 4, end / 4)
      if offset % 4 != 0 { try unsafe edge(offset / 4, offset..<end, start, &parts) }
      if end % 4 != 0, end / 4 >= whole.lowerBound { try unsafe edge(end / 4, offset..<end, start, &parts) }
      try unsafe fill(whole, start + Int(min(whole.lowerBound * 4, end) - offset), &parts)
    }
  }

  /// Computes one element and writes its bytes `range` to `target`.
  private func edge(
    _ element: UInt64, _ range: Range<UInt64>, _ target: UnsafeMutableRawPointer, _ parts: inout BlockParts
  ) throws(Errno) {
    var value: Float = 0
    try unsafe withUnsafeMutableBytes(of: &value) { bytes throws(Errno) in
      guard let start = bytes.baseAddress else { return }
      try unsafe fill(element..<element + 1, start, &parts)
    }
    let part = range.clamped(to: element * 4..<element * 4 + 4)
    let bits = value.bitPattern.littleEndian
    for position in part {
      let byte = UInt8(truncatingIfNeeded: bits >> UInt32((position - element * 4) * 8))
      unsafe target.storeBytes(of: byte, toByteOffset: Int(position - range.lowerBound), as: UInt8.self)
    }
  }

  /// Computes elements `range`, in blocks of whole rows or of parts of a row.
  private func fill(_ range: Range<UInt64>, _ target: UnsafeMutableRawPointer, _ parts: inout BlockParts)
    throws(Errno)
  {
    let columns = arithmetic.columns
    var element = range.lowerBound
    while element < range.upperBound {
      let rest = range.upperBound - element
      let row = element / columns
      let column = element % columns
      let block: NumberBlock
      if column == 0, rest >= columns, columns <= Self.blockSize {
        let rows = min(rest, Self.blockSize) / columns
        block = NumberBlock(rows: row..<row + rows, columns: 0..<columns)
      } else {
        let count = min(columns - column, rest, Self.blockSize)
        block = NumberBlock(rows: row..<row + 1, columns: column..<column + count)
      }
      try parts.read(block)
      unsafe parts.compute(block, table, into: target + Int((element - range.lowerBound) * 4))
      element += UInt64(block.rows.count * block.columns.count)
    }
  }
}

/// Whole rows of numbers, or a part of one row.
struct NumberBlock {
  let rows: Range<UInt64>
  let columns: Range<UInt64>
}

extension Range<UInt64> {
  /// The range of groups of `size` that contain this range.
  func dividedOutward(by size: UInt64) -> Range<UInt64> { lowerBound / size..<(upperBound - 1) / size + 1 }
}

extension TensorView {
  /// The byte range of elements in the view.
  func bytes(of elements: Range<UInt64>) -> Range<UInt64> {
    let width = dtype.bitSize / 8
    return elements.lowerBound * width..<elements.upperBound * width
  }
}

extension QuantizedCodes {
  /// The bytes of codes that a block needs.
  func range(of block: NumberBlock) -> Range<UInt64> {
    let rows = block.rows.dividedOutward(by: planes)
    let part = bytes(of: block.columns)
    return rows.lowerBound * rowBytes + part.lowerBound..<(rows.upperBound - 1) * rowBytes + part.upperBound
  }
}

extension ScaleGrid {
  /// The scales that a block needs, counted row by row. With a group index, all of a row.
  func range(of block: NumberBlock, isIndexed: Bool) -> Range<UInt64> {
    let first = blocks.row(of: block.rows.lowerBound)
    let last = blocks.row(of: block.rows.upperBound - 1)
    guard first == last, !isIndexed else { return first * blocks.columns..<(last + 1) * blocks.columns }
    let part = block.columns.dividedOutward(by: blocks.columnBlock)
    return first * blocks.columns + part.lowerBound..<first * blocks.columns + part.upperBound
  }
}
