internal import Models
package import Safetensors

/// A tensor as a view writes it down: a header, then its elements as they are, or widened to float32.
package struct Encoding: Sendable {
  /// The header, in pieces, so that what many files have in common need not be copied for each.
  private let header: [[UInt8]]
  /// How the elements are changed; nil where they are not.
  package let widening: Widening?
  /// The size of the header.
  package let headerCount: UInt64
  /// The size of the whole, at most `Int64.max`.
  package let byteCount: UInt64

  /// Nil where the whole would be larger than a file can be.
  package init?(of tensor: Tensor, header: [[UInt8]] = [], widening: Widening? = nil) {
    self.header = header
    self.widening = widening
    headerCount = header.reduce(0) { $0 + UInt64($1.count) }
    let data = widening.map { $0.wideCount(of: tensor.byteCount) } ?? tensor.byteCount
    let (sum, overflow) = headerCount.addingReportingOverflow(data ?? .max)
    guard let data, !overflow, sum <= UInt64(Int64.max) else { return nil }
    byteCount = headerCount + data
  }

  /// The part of the header that is in `range`, which are bytes of the whole.
  package func headerBytes(in range: Range<UInt64>) -> [UInt8] {
    guard range.lowerBound < headerCount else { return [] }
    var bytes: [UInt8] = []
    var start: UInt64 = 0
    for piece in header {
      let part = range.clamped(to: start..<start + UInt64(piece.count))
      if !part.isEmpty { bytes += piece[Int(part.lowerBound - start)..<Int(part.upperBound - start)] }
      start += UInt64(piece.count)
    }
    return bytes
  }

  /// The part of `range` that follows the header, as bytes of what follows it.
  package func dataRange(in range: Range<UInt64>) -> Range<UInt64> {
    let data = range.clamped(to: headerCount..<max(headerCount, byteCount))
    return data.lowerBound - headerCount..<data.upperBound - headerCount
  }
}
