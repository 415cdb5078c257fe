/// A range of a source file.
package struct FileRange: Sendable {
  package let file: SourceFile
  /// The range, within the file's size at opening.
  package let range: Range<UInt64>
  /// The range that contains this one, such as a tensor's. A sequential reader is expected to stay in it.
  package let extent: Range<UInt64>

  package init(_ range: Range<UInt64>, of file: SourceFile) {
    self.file = file
    self.range = range
    extent = range
  }

  /// The number of bytes.
  package var byteCount: UInt64 { range.upperBound - range.lowerBound }

  /// A part of this range; `part` counts from its first byte.
  package func part(_ part: Range<UInt64>) -> FileRange {
    FileRange(part: range.lowerBound + part.lowerBound..<range.lowerBound + part.upperBound, of: self)
  }

  private init(part: Range<UInt64>, of whole: FileRange) {
    file = whole.file
    range = part
    extent = whole.extent
  }
}

extension Sequence<FileRange> {
  /// The files, without duplicates, in the order of their first ranges.
  package var files: [SourceFile] {
    var seen: Set<ObjectIdentifier> = []
    return map(\.file).filter { seen.insert(ObjectIdentifier($0)).inserted }
  }
}
