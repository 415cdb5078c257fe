internal import Models
internal import Safetensors
internal import SystemPackage

/// The codes, scales and zero points of a block of numbers. All blocks of a read reuse the memory.
struct BlockParts {
  let arithmetic: DequantizationArithmetic
  private let check: ScaleCheck
  private let reader: ViewReader

  /// The bytes of codes in ``codeRange``. A few bytes follow, since codes are loaded as words.
  private(set) var codes: [UInt8] = []
  private(set) var codeRange: Range<UInt64> = 0..<0
  /// A scale per block of the grid, from ``firstScale`` on, row by row.
  private(set) var scales: [Float] = []
  private var scaleRange: Range<UInt64> = 0..<0
  var firstScale: UInt64 { scaleRange.lowerBound }
  /// A zero point per scale; empty if there are none.
  private(set) var zeros: [Float] = []
  /// The group of each of the block's columns, if an index gives one.
  private(set) var groups: [Int] = []

  /// One row's codes with a byte each, and the scales and zero points of single columns.
  var unpacked: [UInt8] = []
  var columnScales: [Float] = []
  var columnZeros: [Float] = []

  private var narrow: [UInt16] = []
  private var outer: [Float] = []
  private var bytes: [UInt8] = []

  /// Starts empty.
  init(of tensor: QuantizedTensor, cache: StripeCache) {
    arithmetic = tensor.arithmetic
    check = ScaleCheck(of: tensor)
    reader = ViewReader(name: tensor.name, cache: cache)
  }

  /// Reads what a block needs. Throws ``ScaleCheck/failure`` if a scale is invalid.
  mutating func read(_ block: NumberBlock) throws(Errno) {
    codeRange = arithmetic.codes.range(of: block)
    codes.grow(to: codeRange.count + 8)
    try reader.read(.codes, arithmetic.codes.view, codeRange, into: &codes)
    let blocks = arithmetic.scales.range(of: block, isIndexed: arithmetic.groupIndex != nil)
    // Consecutive rows often share their scales.
    if blocks != scaleRange {
      scaleRange = 0..<0
      try readScales(blocks)
      try readZeros(blocks)
      scaleRange = blocks
    }
    try readGroups(block.columns)
  }

  private mutating func readScales(_ blocks: Range<UInt64>) throws(Errno) {
    let grid = arithmetic.scales
    if case .nested(let map, let absmax, let size, let offset) = grid.form {
      try reader.read(.scales, grid.view, blocks, into: &bytes)
      let parts = blocks.dividedOutward(by: size)
      try reader.readFloats(.outerScales, absmax, parts, into: &outer, by: &narrow)
      guard check.accepts(outer[..<parts.count], from: parts.lowerBound) else { throw ScaleCheck.failure }
      scales.grow(to: blocks.count)
      for block in blocks {
        let position = Int(block - blocks.lowerBound)
        let product = map[Int(bytes[position])] * outer[Int(block / size - parts.lowerBound)]
        scales[position] = product + offset
      }
    } else {
      try reader.readFloats(.scales, grid.view, blocks, into: &scales, by: &narrow)
      guard check.accepts(scales[..<blocks.count], from: blocks.lowerBound) else { throw ScaleCheck.failure }
    }
    unsafe scales.withUnsafeMutableBufferPointer { scales in
      guard let scales = scales.baseAddress else { return }
      switch grid.form {
      case .plain, .nested: break
      case .divided(let divisor): for index in 0..<blocks.count { unsafe scales[index] /= divisor }
      case .multiplied(let factor): for index in 0..<blocks.count { unsafe scales[index] *= factor }
      }
    }
  }

  private mutating func readZeros(_ blocks: Range<UInt64>) throws(Errno) {
    guard let zeros = arithmetic.zeros else { return }
    self.zeros.grow(to: blocks.count)
    if case .bytes = zeros.packing {
      if zeros.view.dtype != .i8 {
        try reader.readFloats(.zeros, zeros.view, blocks, into: &self.zeros, by: &narrow)
        return
      }
      try reader.read(.zeros, zeros.view, blocks, into: &bytes)
      for index in 0..<blocks.count { self.zeros[index] = Float(Int8(bitPattern: bytes[index])) }
      return
    }
    let stripes = ZeroPointStripes(
      zeros: zeros, rows: arithmetic.count / arithmetic.columns, name: reader.name, cache: reader.cache)
    try stripes.read(blocks, into: &self.zeros)
  }

  private mutating func readGroups(_ columns: Range<UInt64>) throws(Errno) {
    guard let index = arithmetic.groupIndex else { return }
    try reader.read(.groupIndex, index, index.bytes(of: columns), into: &bytes)
    groups.grow(to: columns.count)
    let count = arithmetic.scales.blocks.columns
    for column in 0..<columns.count {
      var group: UInt32 = 0
      for byte in 0..<4 { group |= UInt32(bytes[4 * column + byte]) << UInt32(8 * byte) }
      // The file may have changed since its index was checked.
      groups[column] = group < count ? Int(group) : 0
    }
  }
}

/// Reads parts of views.
private struct ViewReader {
  let name: TensorName
  let cache: StripeCache

  /// Reads elements of a view and widens them to float32, through the buffer `narrow`.
  func readFloats(
    _ role: StripeCache.Role, _ view: TensorView, _ elements: Range<UInt64>, into floats: inout [Float],
    by narrow: inout [UInt16]
  ) throws(Errno) {
    let part = view.bytes(of: elements)
    floats.grow(to: elements.count)
    guard let widening = view.dtype.widening else {
      try read(role, view, part, into: &floats)
      return
    }
    try read(role, view, part, into: &narrow)
    var target = floats.mutableSpan
    var wide = unsafe target.mutableBytes
    _ = unsafe widening.widen(narrow.span.bytes.extracting(0..<part.count), into: &wide)
  }

  /// Reads bytes of a view, as stored.
  func read<Element: Numeric & BitwiseCopyable>(
    _ role: StripeCache.Role, _ view: TensorView, _ part: Range<UInt64>, into elements: inout [Element]
  ) throws(Errno) {
    elements.grow(to: (part.count + MemoryLayout<Element>.size - 1) / MemoryLayout<Element>.size)
    var span = elements.mutableSpan
    var all = unsafe span.mutableBytes
    var target = all._mutatingExtracting(0..<part.count)
    try view.read(from: part.lowerBound, into: &target, through: cache) { stripe in
      StripeCache.Key(name, role, stripe)
    }
  }
}

extension Array where Element: Numeric {
  /// Grows to at least `wanted` elements. Their values are undefined.
  mutating func grow(to wanted: Int) {
    if count < wanted { append(contentsOf: repeatElement(0, count: wanted - count)) }
  }
}
