/// The files in a tar archive as Python's tarfile writes it: POSIX.1-1988 (ustar) and GNU tar.
struct TarArchive {
  /// The range of each file's contents, by name.
  let files: [[UInt8]: Range<UInt64>]

  private static let blockCount: UInt64 = 512

  /// True if these bytes are a tar header with a correct checksum.
  static func isHeader(_ block: [UInt8]) -> Bool {
    guard block.count >= Int(blockCount), let expected = octal(block[148..<156]) else { return false }
    let sum =
      block[..<148].reduce(0) { $0 + UInt64($1) } + 8 * 0x20 + block[156..<512].reduce(0) { $0 + UInt64($1) }
    return sum == expected
  }

  init(_ source: some ByteSource) throws(FormatError) {
    var files: [[UInt8]: Range<UInt64>] = [:]
    var position: UInt64 = 0
    while source.size - position >= Self.blockCount {
      let block = try source.bytes(from: position, count: Int(Self.blockCount))
      // Two blocks of zeros mark the end; one is enough here.
      if block.allSatisfy({ $0 == 0 }) { break }
      guard Self.isHeader(block), let size = Self.octal(block[124..<136]) else {
        throw FormatError(at: position, .malformed(.file, "invalid header in the tar archive"))
      }
      let start = position + Self.blockCount
      let (padded, isLarge) = size.addingReportingOverflow(Self.blockCount - 1)
      let count = padded / Self.blockCount * Self.blockCount
      guard !isLarge, size <= source.size - start else { throw FormatError(at: source.size, .truncated) }
      switch block[156] {
      case 0, UInt8(ascii: "0"):
        let name = Array(block[..<100].prefix { $0 != 0 })
        guard files.updateValue(start..<start + size, forKey: name) == nil else {
          throw FormatError(at: position, .malformed(.entry(name), "is a duplicate"))
        }
      // Directories, and extended attributes: these hold only times, not names or sizes.
      case UInt8(ascii: "5"), UInt8(ascii: "x"): break
      default:
        throw FormatError(
          at: position,
          .malformed(.file, "the tar archive has an entry that is neither a file nor a directory"))
      }
      position = start + min(count, source.size - start)
    }
    self.files = files
  }

  private static func octal(_ field: ArraySlice<UInt8>) -> UInt64? {
    let digits = field.drop { $0 == 0x20 }.prefix { $0 != 0 && $0 != 0x20 }
    guard let text = String(validating: digits, as: UTF8.self), text.utf8.first != UInt8(ascii: "-") else {
      return nil
    }
    return UInt64(text, radix: 8)
  }
}
