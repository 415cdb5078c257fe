/// Bytes of a source file.
package struct FileRange: Sendable {
  /// The file, held open.
  package let file: SourceFile
  /// The bytes, inside the size that the file had when it was opened.
  package let range: Range<UInt64>

  package init(_ range: Range<UInt64>, of file: SourceFile) {
    self.file = file
    self.range = range
  }

  /// True if the other bytes are among these.
  package func contains(_ other: FileRange) -> Bool {
    file === other.file && range.lowerBound <= other.range.lowerBound
      && other.range.upperBound <= range.upperBound
  }

  /// The number of bytes.
  package var byteCount: UInt64 { range.upperBound - range.lowerBound }
}
