/// An entry of a zip archive, as its central directory describes it: APPNOTE 4.3.12.
struct ZipEntry {
  let name: [UInt8]
  let flags: UInt64
  let method: UInt64
  let checksum: UInt64
  /// The size of the stored, possibly compressed, contents.
  let storedCount: UInt64
  /// The size of the uncompressed contents.
  let count: UInt64
  /// True if the MS-DOS attributes mark a directory. Some readers ignore the contents of such an entry.
  let hasDirectoryAttribute: Bool
  /// The offset of the local header.
  let headerOffset: UInt64
  /// The offset of the contents; 0 until the local header has been read.
  var dataOffset: UInt64 = 0

  /// True if the entry is a directory.
  var isDirectory: Bool { name.last == UInt8(ascii: "/") }

  /// The range of the contents in the file, for entries that are not compressed.
  var dataRange: Range<UInt64> { dataOffset..<dataOffset + storedCount }

  /// True if sizes and checksum follow the contents: bit 3.
  var hasDescriptor: Bool { flags & 1 << 3 != 0 }
  /// True if a flag changes how some reader sees the contents, such as encryption. Harmless flags are bits 1
  /// and 2 (compression level), 3 (descriptor) and 11 (the name is UTF-8).
  var hasUnknownFlags: Bool { flags & ~(1 << 1 | 1 << 2 | 1 << 3 | 1 << 11) != 0 }

  static let centralSignature: UInt64 = 0x0201_4B50
  static let localSignature: UInt64 = 0x0403_4B50
  static let descriptorSignature: UInt64 = 0x0807_4B50
  static let centralCount = 46
  static let localCount = 30

  /// Reads the record at `position` of a central directory, and advances `position`; nil if the record is
  /// invalid.
  init?(central bytes: [UInt8], at position: inout Int) {
    guard position <= bytes.count - Self.centralCount else { return nil }
    let start = position
    func field(_ offset: Int, _ count: Int) -> UInt64 {
      littleEndian(bytes, at: start + offset, count: count)
    }
    let nameEnd = start + Self.centralCount + Int(field(28, 2))
    let extraEnd = nameEnd + Int(field(30, 2))
    let end = extraEnd + Int(field(32, 2))
    // No comment, and all on the first disk.
    guard field(0, 4) == Self.centralSignature, field(32, 2) == 0, field(34, 2) == 0, end <= bytes.count,
      var extra = ZipExtra(bytes[nameEnd..<extraEnd])
    else { return nil }
    name = Array(bytes[start + Self.centralCount..<nameEnd])
    flags = field(8, 2)
    method = field(10, 2)
    checksum = field(16, 4)
    hasDirectoryAttribute = field(38, 4) & 0x10 != 0
    guard let count = extra.value(for: field(24, 4)), let storedCount = extra.value(for: field(20, 4)),
      let headerOffset = extra.value(for: field(42, 4)), extra.isUsedUp
    else { return nil }
    self.count = count
    self.storedCount = storedCount
    self.headerOffset = headerOffset
    position = end
  }

  /// True if a local header matches. The header may leave sizes and checksum to a descriptor.
  func agrees(withLocal header: [UInt8], _ name: ArraySlice<UInt8>, _ extra: ArraySlice<UInt8>) -> Bool {
    func field(_ offset: Int, _ count: Int) -> UInt64 { littleEndian(header, at: offset, count: count) }
    guard field(6, 2) == flags, field(8, 2) == method, name.elementsEqual(self.name),
      var extra = ZipExtra(extra)
    else { return false }
    let isLeft = hasDescriptor && field(14, 4) == 0
    guard isLeft || field(14, 4) == checksum else { return false }
    let local = (extra.value(for: field(22, 4)), extra.value(for: field(18, 4)))
    // PyTorch repeats the central directory's 64-bit sizes even with a descriptor. The stored size is then 0,
    // since PyTorch does not know it yet.
    if isLeft, local == (0, 0) {
      return extra.isUsedUp || extra.isEqual(to: [count, storedCount, headerOffset], zeroed: 1)
        || extra.isEqual(to: [count, storedCount, headerOffset])
    }
    // libarchive writes the size of data that it compresses. Compressed entries are refused later, with a
    // message of their own.
    if isLeft, method != 0, local == (count, 0) { return extra.isUsedUp }
    return local == (count, storedCount)
  }

  /// True if these bytes are the entry's data descriptor.
  func agrees(withDescriptor bytes: [UInt8]) -> Bool {
    // PyTorch writes no descriptor for empty contents; other writers do.
    guard hasDescriptor else { return bytes.isEmpty }
    guard bytes.count == 16 || bytes.count == 24 else { return false }
    let width = bytes.count == 16 ? 4 : 8
    return littleEndian(bytes, at: 0, count: 4) == Self.descriptorSignature
      && littleEndian(bytes, at: 4, count: 4) == checksum
      && littleEndian(bytes, at: 8, count: width) == storedCount
      && littleEndian(bytes, at: 8 + width, count: width) == count
  }
}
