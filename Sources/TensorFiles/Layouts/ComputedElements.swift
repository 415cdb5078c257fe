package import Models
package import SystemPackage

/// Bytes of a file that are computed when they are read: widened, strided or dequantised elements, long headers.
package protocol ComputedElements: Sendable {
  /// The size of the whole in bytes, known without computing any.
  var byteCount: UInt64 { get }

  /// The parts of source files that bytes `range` are computed from. Of a file whose bytes are taken here and there, an empty
  /// part.
  func sources(of range: Range<UInt64>) -> [FileRange]

  /// Computes as many bytes as `target` has, from `offset` on. The whole has that many.
  ///
  /// The memory of `target` need not be aligned. Sources are read by pread(2) alone, never through a mapping: touching a
  /// page of a file that was truncated is SIGBUS. Throws ESTALE where a source ends too early; whether it is still the file
  /// that was opened is for the caller to check afterwards.
  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno)
}
