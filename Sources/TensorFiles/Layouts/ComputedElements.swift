package import Models
package import SystemPackage

/// Bytes of a file that are computed when they are read: widened, strided or dequantised elements, long headers.
package protocol ComputedElements: Sendable {
  /// The size of the whole in bytes, known without computing any.
  var byteCount: UInt64 { get }

  /// The parts of source files that bytes `range` are computed from; an empty part for a file whose bytes are scattered.
  func sources(of range: Range<UInt64>) -> [FileRange]

  /// Fills `target` with computed bytes from `offset` on. The whole must have that many.
  ///
  /// The memory of `target` need not be aligned. Sources are read only with pread(2), never through a mapping: accessing a
  /// page of a truncated file is SIGBUS. Throws ESTALE if a source ends too early. The caller must check afterwards whether
  /// it is still the file that was opened.
  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno)
}
