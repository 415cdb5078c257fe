internal import Models
internal import Safetensors
internal import SystemPackage

/// Unpacks zero points to one byte per row of numbers and group of columns.
struct ZeroPointStripes {
  let zeros: ZeroPoints
  /// The number of rows.
  let rows: UInt64
  /// The tensor's name, for the cache.
  let name: TensorName
  let cache: StripeCache

  /// The number of zero points that are unpacked at a time.
  private static let stripeSize: UInt64 = 256 << 10
  /// The codes of this many rows fill whole words, for any width and packing.
  private static let unit: UInt64 = 480

  private var stripeRows: UInt64 {
    max(1, Self.stripeSize / max(1, zeros.groups) / Self.unit) * Self.unit
  }

  /// Reads the zero points of blocks `range`, counted row by row.
  func read(_ range: Range<UInt64>, into target: inout [Float]) throws(Errno) {
    let offset = Float(zeros.offset)
    var position = range.lowerBound
    while position < range.upperBound {
      let stripe = position / zeros.groups / stripeRows
      let start = stripe * stripeRows * zeros.groups
      let bytes = try cache.bytes(StripeCache.Key(name, .zeros, stripe)) { () throws(Errno) in
        try unpack(stripe * stripeRows..<min((stripe + 1) * stripeRows, rows))
      }
      let end = min(range.upperBound, start + UInt64(bytes.count))
      for block in position..<end {
        target[Int(block - range.lowerBound)] = Float(bytes[Int(block - start)]) - offset
      }
      position = end
    }
  }

  private func unpack(_ rows: Range<UInt64>) throws(Errno) -> [UInt8] {
    let groups = Int(zeros.groups)
    let count = rows.count
    var result = [UInt8](repeating: 0, count: groups * count)
    let mask = 1 << zeros.width - 1
    func put(_ code: Int, _ row: Int, _ group: Int) {
      result[row * groups + group] = UInt8(truncatingIfNeeded: (code + zeros.increment) & mask)
    }
    let width = UInt64(zeros.width)
    switch zeros.packing {
    case .bytes: break
    case .alongColumns, .alongColumnsAWQ:
      let rowBytes = zeros.view.columns * 4
      let isAWQ = if case .alongColumnsAWQ = zeros.packing { true } else { false }
      // Rows come in units whose codes fill whole bytes.
      let part = rows.lowerBound * width / 8..<min(rowBytes, (rows.upperBound * width + 31) / 32 * 4)
      for group in 0..<groups {
        let start = UInt64(group) * rowBytes
        let bytes = try zeros.view.read(start + part.lowerBound..<start + part.upperBound)
        for row in 0..<count {
          let column = isAWQ ? row / 8 * 8 + Int(QuantizedCodes.awqOrder[row % 8]) : row
          put(Self.code(bytes, bit: column * zeros.width, zeros.width), row, group)
        }
      }
    case .alongRows:
      let perWord = zeros.inWords ? 32 / width : 0
      func word(_ row: UInt64) -> UInt64 { zeros.inWords ? row / perWord : row * width / 32 }
      let words = word(rows.lowerBound)..<word(rows.upperBound - 1) + 2
      let lineBytes = zeros.groups * 4
      let end = min(words.upperBound * lineBytes, zeros.view.byteCount)
      let bytes = try zeros.view.read(words.lowerBound * lineBytes..<end)
      for row in 0..<count {
        let line = Int(word(rows.lowerBound + UInt64(row)) - words.lowerBound)
        let shift = zeros.inWords ? row % Int(perWord) * zeros.width : row * zeros.width % 32
        for group in 0..<groups {
          var bits = Self.word(bytes, (line * groups + group) * 4)
          if shift + zeros.width > 32 { bits |= Self.word(bytes, ((line + 1) * groups + group) * 4) << 32 }
          put(Int(bits >> UInt64(shift)) & mask, row, group)
        }
      }
    case .perRow:
      let rowBytes = zeros.view.columns * 4
      let bytes = try zeros.view.read(rows.lowerBound * rowBytes..<rows.upperBound * rowBytes)
      for row in 0..<count {
        for group in 0..<groups {
          put(Self.code(bytes, bit: row * Int(rowBytes) * 8 + group * zeros.width, zeros.width), row, group)
        }
      }
    }
    return result
  }

  /// The code at a bit offset. Bits are counted from the lowest of each byte.
  private static func code(_ bytes: [UInt8], bit: Int, _ width: Int) -> Int {
    let index = bit / 8
    let low = Int(bytes[index])
    let high = index + 1 < bytes.count ? Int(bytes[index + 1]) : 0
    return (low | high << 8) >> (bit % 8) & (1 << width - 1)
  }

  private static func word(_ bytes: [UInt8], _ index: Int) -> UInt64 {
    bytes[index..<index + 4].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  }
}
