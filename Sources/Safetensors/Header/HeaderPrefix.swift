/// The first 8 bytes of a safetensors file: the header's length, unsigned, little-endian.
package enum HeaderPrefix {
  /// The size of the length field, in bytes.
  package static let size: UInt64 = 8
  /// The longest header that the reference accepts, in bytes.
  package static let maximumLength: UInt64 = 100_000_000

  /// The header's length in bytes, checked against the limit and the file's size: checks 1 to 3 of the
  /// reference. `start` is the file's beginning, up to ``ForeignFormat/prefixSize`` bytes, so that
  /// the error can name the format of another kind of file.
  package static func length(start: [UInt8], fileSize: UInt64) throws(HeaderError) -> Int {
    guard fileSize >= size, start.count >= Int(size) else {
      throw .headerTooSmall(fileSize: fileSize)
    }
    var length: UInt64 = 0
    for byte in start.prefix(Int(size)).reversed() { length = length << 8 | UInt64(byte) }
    guard length <= maximumLength else {
      if let format = ForeignFormat(prefix: start) { throw .foreignFormat(format) }
      throw .headerTooLarge(length: length)
    }
    // Cannot overflow: the length is at most 100,000,000 here.
    guard size + length <= fileSize else {
      throw .invalidHeaderLength(length: length, fileSize: fileSize)
    }
    return Int(length)
  }
}
