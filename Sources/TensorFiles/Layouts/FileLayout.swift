package import Models
package import Safetensors
package import SystemPackage

/// The contents of a file of a mount: segments in order.
///
/// All reads go through layouts: a tensor is a layout, a view is a function from a tensor to a layout, and the whole model
/// as one file is a longer layout. Making one takes time proportional to the number of segments, and never reads a source.
package struct FileLayout: Sendable {
  /// A part of the file.
  package enum Segment: Sendable {
    /// Bytes in memory, such as a header.
    case memory(ArraySlice<UInt8>)
    /// Bytes of a source file as they are.
    case file(FileRange)
    /// Bytes that are computed when they are read.
    case computed(any ComputedElements)

    /// The size in bytes.
    package var byteCount: UInt64 {
      switch self {
      case .memory(let bytes): UInt64(bytes.count)
      case .file(let part): part.byteCount
      case .computed(let elements): elements.byteCount
      }
    }

    /// The parts of source files that bytes `part` of the segment come from; none of a header.
    package func sources(of part: Range<UInt64>) -> [FileRange] {
      switch self {
      case .memory: []
      case .file(let source): [source.part(part)]
      case .computed(let elements): elements.sources(of: part)
      }
    }
  }

  /// The segments in order; none is empty.
  package let segments: [Segment]
  /// The end of each segment in the file.
  private let ends: [UInt64]

  /// The size of the file in bytes, at most `Int64.max`.
  package var byteCount: UInt64 { ends.last ?? 0 }

  /// Contiguous ranges of one source file become one segment. Nil if the whole would be larger than a file can be.
  package init?(_ parts: some Sequence<Segment>) {
    var segments: [Segment] = []
    var ends: [UInt64] = []
    var end: UInt64 = 0
    for part in parts {
      let (sum, overflow) = end.addingReportingOverflow(part.byteCount)
      guard !overflow, sum <= UInt64(Int64.max) else { return nil }
      if sum == end { continue }
      end = sum
      if case .file(let next) = part, case .file(let last)? = segments.last, last.file === next.file,
        last.range.upperBound == next.range.lowerBound
      {
        segments[segments.count - 1] = .file(
          FileRange(last.range.lowerBound..<next.range.upperBound, of: last.file))
        ends[ends.count - 1] = end
      } else {
        segments.append(part)
        ends.append(end)
      }
    }
    self.segments = segments
    self.ends = ends
  }

  /// The part of `offset..<offset + count` that is inside the file.
  package func clamp(_ offset: UInt64, _ count: Int) -> Range<UInt64> {
    let start = min(offset, byteCount)
    return start..<start + min(UInt64(max(0, count)), byteCount - start)
  }

  /// A segment, and the bytes of it that a range of the file touches.
  package typealias Part = (segment: Segment, range: Range<UInt64>)

  /// The parts that make up bytes `range` of the file, in order. Takes time logarithmic in the number of segments, and
  /// linear in the number of parts.
  package func parts(of range: Range<UInt64>) -> [Part] {
    var parts: [Part] = []
    forEachPart(of: range) { segment, part in parts.append((segment, part)) }
    return parts
  }

  /// The parts of source files that bytes `range` of the file come from.
  package func sources(of range: Range<UInt64>) -> [FileRange] {
    var sources: [FileRange] = []
    forEachPart(of: range) { segment, part in sources += segment.sources(of: part) }
    return sources
  }

  /// Fills `target` with bytes from `offset` of the file on, which must have that many. Throws the errors of
  /// ``ComputedElements/fill(_:from:)``.
  package func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    var filled = 0
    try forEachPart(of: offset..<offset + UInt64(target.byteCount)) { segment, part throws(Errno) in
      var slot = target._mutatingExtracting(filled..<filled + part.count)
      filled += part.count
      switch segment {
      case .memory(let bytes):
        let start = bytes.startIndex + Int(part.lowerBound)
        unsafe slot.withUnsafeMutableBytes { slot in
          unsafe slot.copyBytes(from: bytes[start..<start + part.count])
        }
      case .file(let source): try source.file.read(from: source.part(part).range.lowerBound, into: &slot)
      case .computed(let elements): try elements.fill(&slot, from: part.lowerBound)
      }
    }
  }

  /// Calls `body` with each segment that bytes `range` of the file touch, and the bytes of the segment.
  private func forEachPart<Failure>(
    of range: Range<UInt64>, _ body: (Segment, Range<UInt64>) throws(Failure) -> Void
  ) throws(Failure) {
    guard !range.isEmpty else { return }
    // The first segment that ends after the range begins.
    for position in ends.partitionPoint(where: { $0 <= range.lowerBound })..<ends.count {
      let start = position == 0 ? 0 : ends[position - 1]
      guard start < range.upperBound else { return }
      let part = range.clamped(to: start..<ends[position])
      try body(segments[position], part.lowerBound - start..<part.upperBound - start)
    }
  }
}

extension FileLayout {
  /// A file with these bytes.
  package init(_ bytes: [UInt8]) {
    segments = bytes.isEmpty ? [] : [.memory(bytes[...])]
    ends = bytes.isEmpty ? [] : [UInt64(bytes.count)]
  }

  /// A tensor without a view: its bytes in row-major order, or its numbers if it is dequantised. Nil if it is larger than
  /// a file can be.
  package init?(of tensor: Tensor, in shard: Shard) {
    switch shard.source(of: tensor) {
    case .stored(let part) where tensor.isContiguous: self.init(CollectionOfOne(.file(part)))
    case .stored(let part):
      self.init(
        CollectionOfOne(.computed(StridedElements(tensor, at: part.range.lowerBound, of: part.file))))
    case .assembled(let assembled, let shards):
      guard let segments = AssembledElements(assembled, of: shards).segments else { return nil }
      self.init(segments)
    case .computed(let quantized, let cache):
      self.init(CollectionOfOne(.computed(DequantizedElements(of: quantized, cache: cache))))
    }
  }
}
