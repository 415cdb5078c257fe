/// Reads opcode arguments from a pickle's bytes. Throws `truncated` if bytes are missing.
struct PickleCursor {
  private let bytes: [UInt8]
  private let offset: UInt64
  private(set) var position: Int

  init(_ bytes: [UInt8], at offset: UInt64, from position: Int) {
    self.bytes = bytes
    self.offset = offset
    self.position = position
  }

  private func require(_ count: Int) throws(FormatError) {
    guard count <= bytes.count - position else {
      throw FormatError(at: offset + UInt64(bytes.count), .truncated)
    }
  }

  mutating func skip(_ count: Int) throws(FormatError) {
    try require(count)
    position += count
  }

  mutating func byte() throws(FormatError) -> UInt8 {
    try skip(1)
    return bytes[position - 1]
  }

  /// An unsigned number of at most 4 bytes.
  mutating func number(_ count: Int) throws(FormatError) -> Int {
    try skip(count)
    return Int(littleEndian(bytes, at: position - count, count: count))
  }

  /// The range of bytes that follow their own length.
  mutating func text(lengthBytes: Int) throws(FormatError) -> Pickle.Text {
    try skip(lengthBytes)
    let count = Int(clamping: littleEndian(bytes, at: position - lengthBytes, count: lengthBytes))
    try skip(count)
    // The conversions cannot fail: a pickle has at most 100,000,000 bytes.
    return Pickle.Text(start: UInt32(position - count), count: UInt32(count))
  }

  /// The range of bytes up to a newline. Consumes the newline.
  mutating func line() throws(FormatError) -> Pickle.Text {
    let start = position
    while try byte() != UInt8(ascii: "\n") {}
    return Pickle.Text(start: UInt32(start), count: UInt32(position - 1 - start))
  }

  /// A two's complement number that follows its own length; nil if it has more than 64 bits.
  mutating func long(lengthBytes: Int) throws(FormatError) -> Int64? {
    let count = try number(lengthBytes)
    try skip(count)
    guard count <= 8 else { return nil }
    let value = littleEndian(bytes, at: position - count, count: count)
    let unused = 64 - 8 * count
    return count == 0 ? 0 : Int64(bitPattern: value << UInt64(unused)) >> Int64(unused)
  }
}
