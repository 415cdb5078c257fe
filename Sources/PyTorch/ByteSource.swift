package import SystemPackage

/// The bytes of a file, on disk or in memory (tests, fuzzers).
package protocol ByteSource {
  /// The number of bytes.
  var size: UInt64 { get }

  /// A copy of bytes `offset..<offset + count`. The range must lie within ``size``.
  func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8]

  /// Announces ranges within ``size`` that will be read soon. The source may prefetch them.
  func announce(_ ranges: [Range<UInt64>])
}

extension ByteSource {
  package func announce(_ ranges: [Range<UInt64>]) {}
}

extension [UInt8]: ByteSource {
  package var size: UInt64 { UInt64(count) }

  package func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    guard let start = Int(exactly: offset), start <= self.count, count <= self.count - start else {
      throw .invalidArgument
    }
    return Array(self[start..<start + count])
  }
}

extension ByteSource {
  /// Like ``read(from:count:)``, but throws this library's error.
  func bytes(from offset: UInt64, count: Int) throws(FormatError) -> [UInt8] {
    do {
      return try read(from: offset, count: count)
    } catch {
      throw FormatError(at: offset, .unreadable(error))
    }
  }
}

/// The unsigned little-endian number at `offset` of `bytes`. The bytes must exist.
func littleEndian(_ bytes: [UInt8], at offset: Int, count: Int) -> UInt64 {
  bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
}
