/// Bytes of a source file.
package struct FileRange: Sendable {
  /// The file, held open.
  package let file: SourceFile
  /// The bytes, inside the size that the file had when it was opened.
  package let range: Range<UInt64>
  /// The bytes that these are a part of, such as a tensor's: a sequential reader is expected to stay in them.
  package let extent: Range<UInt64>

  package init(_ range: Range<UInt64>, of file: SourceFile) {
    self.file = file
    self.range = range
    extent = range
  }

  /// The number of bytes.
  package var byteCount: UInt64 { range.upperBound - range.lowerBound }

  /// A part of these bytes; `part` counts from the first.
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
  /// The files, each once, in the order of their first ranges.
  package var files: [SourceFile] {
    var seen: Set<ObjectIdentifier> = []
    return map(\.file).filter { seen.insert(ObjectIdentifier($0)).inserted }
  }
}
