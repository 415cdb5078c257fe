package import SystemPackage

/// The bytes of a file: on a disk, or in memory for tests and fuzzing.
package protocol ByteSource {
  /// The number of bytes.
  var size: UInt64 { get }

  /// A copy of bytes `offset..<offset + count`, which must be inside ``size``.
  func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8]

  /// A hint: these ranges, inside ``size``, will be read soon. The source may prefetch them.
  func announce(_ ranges: [Range<UInt64>])
}

extension ByteSource {
  /// Does nothing.
  package func announce(_ ranges: [Range<UInt64>]) {}
}

extension [UInt8]: ByteSource {
  /// The number of elements.
  package var size: UInt64 { UInt64(count) }

  /// A part of the array.
  package func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    guard let start = Int(exactly: offset), start <= self.count, count <= self.count - start else {
      throw .invalidArgument
    }
    return Array(self[start..<start + count])
  }
}

extension ByteSource {
  /// As ``read(from:count:)``, with the errors of this library.
  func bytes(from offset: UInt64, count: Int) throws(FormatError) -> [UInt8] {
    do {
      return try read(from: offset, count: count)
    } catch {
      throw FormatError(at: offset, .unreadable(error))
    }
  }
}

/// The number at `offset` of `bytes`, unsigned, little-endian. The bytes must exist.
func littleEndian(_ bytes: [UInt8], at offset: Int, count: Int) -> UInt64 {
  bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
}
