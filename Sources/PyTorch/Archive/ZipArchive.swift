/// The entries of a zip archive that all readers read in the same way.
///
/// An archive has all information twice: in a local header before each entry, and in a central directory at the
/// end. Readers differ in which one they use, and some archives use that to pass scanners. So both must agree,
/// and no bytes may be before, between or after the entries: APPNOTE 4.3.6.
struct ZipArchive {
  /// The entries in the order of the file.
  let entries: [ZipEntry]
  private let positions: [[UInt8]: Int]

  /// The maximum size of the central directory, in bytes.
  private static let maximumDirectory: UInt64 = 100_000_000
  private static let endCount: UInt64 = 22
  private static let locatorCount: UInt64 = 20
  private static let end64Count: UInt64 = 56
  private static let expectedEnd: UInt64 = 64 << 10

  /// The entry of this name, or nil. Throws if the name differs only by case: PyTorch's own reader ignores
  /// case.
  func entry(_ name: [UInt8]) throws(FormatError) -> ZipEntry? {
    guard let position = positions[Self.lowercased(name)] else { return nil }
    let entry = entries[position]
    guard entry.name == name else {
      throw FormatError(
        at: entry.headerOffset, .malformed(.entry(entry.name), "has another case than PyTorch writes"))
    }
    return entry
  }

  /// A name as miniz, PyTorch's reader, compares it.
  private static func lowercased(_ name: [UInt8]) -> [UInt8] {
    name.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
  }

  /// Reads both directories, with one or two reads per entry.
  init(_ source: some ByteSource) throws(FormatError) {
    // Both the records at the end and, mostly, the central directory before them.
    source.announce([source.size - min(source.size, Self.expectedEnd)..<source.size])
    let directory = try Self.directory(of: source)
    let bytes = try source.bytes(from: directory.range.lowerBound, count: directory.range.count)
    var entries: [ZipEntry] = []
    var position = 0
    while position < bytes.count {
      let offset = directory.range.lowerBound + UInt64(position)
      guard let entry = ZipEntry(central: bytes, at: &position) else {
        throw FormatError(
          at: offset, .malformed(.file, "its central directory is not what a zip archive has"))
      }
      try Self.check(entry, at: offset)
      entries.append(entry)
    }
    guard UInt64(entries.count) == directory.count else {
      throw Self.error(
        at: directory.range.upperBound, "it counts \(directory.count) entries, and lists \(entries.count)")
    }
    entries.sort { $0.headerOffset < $1.headerOffset }
    try Self.locate(&entries, upTo: directory.range.lowerBound, in: source)

    var positions: [[UInt8]: Int] = [:]
    for (position, entry) in entries.enumerated() {
      guard positions.updateValue(position, forKey: Self.lowercased(entry.name)) == nil else {
        throw FormatError(
          at: entry.headerOffset,
          .malformed(.entry(entry.name), "is in the archive twice, or differs from another one by case alone")
        )
      }
    }
    self.entries = entries
    self.positions = positions
  }

  private static func error(at offset: UInt64, _ text: String) -> FormatError {
    FormatError(at: offset, .malformed(.file, text))
  }

  // MARK: - The end

  /// The range of the central directory and its number of entries: APPNOTE 4.3.14 to 4.3.16. The end record
  /// must be the last 22 bytes, since a comment can contain another end record.
  private static func directory(of source: some ByteSource) throws(FormatError)
    -> (range: Range<UInt64>, count: UInt64)
  {
    let noEnd = error(
      at: source.size, "truncated zip archive, or bytes follow it: no end record; download it again")
    guard source.size >= endCount else { throw noEnd }
    let start = source.size - endCount
    let end = try source.bytes(from: start, count: Int(endCount))
    func field(_ offset: Int, _ count: Int) -> UInt64 { littleEndian(end, at: offset, count: count) }
    guard field(0, 4) == 0x0605_4B50 else { throw noEnd }
    guard field(4, 2) == 0, field(6, 2) == 0, field(20, 2) == 0 else {
      throw error(at: start, "it is split over several files, or has a comment")
    }
    var (entries, size, offset) = (field(10, 2), field(12, 4), field(16, 4))
    guard field(8, 2) == entries else { throw error(at: start, "it counts its entries in two ways") }
    var limit = start

    if start >= locatorCount + end64Count {
      let locator = try source.bytes(from: start - locatorCount, count: Int(locatorCount))
      if littleEndian(locator, at: 0, count: 4) == 0x0706_4B50 {
        limit = start - locatorCount - end64Count
        let end64 = try source.bytes(from: limit, count: Int(end64Count))
        func field64(_ offset: Int, _ count: Int) -> UInt64 { littleEndian(end64, at: offset, count: count) }
        guard littleEndian(locator, at: 4, count: 4) == 0, littleEndian(locator, at: 8, count: 8) == limit,
          littleEndian(locator, at: 16, count: 4) == 1, field64(0, 4) == 0x0606_4B50,
          field64(4, 8) == end64Count - 12, field64(16, 4) == 0, field64(20, 4) == 0,
          field64(24, 8) == field64(32, 8)
        else { throw error(at: limit, "the two records of its end do not fit together") }
        // The short record has the same numbers, or all ones for numbers that are too large for it.
        let wide = (field64(32, 8), field64(40, 8), field64(48, 8))
        guard entries == wide.0 || entries == 0xFFFF, size == wide.1 || size == 0xFFFF_FFFF,
          offset == wide.2 || offset == 0xFFFF_FFFF
        else { throw error(at: limit, "the two records of its end do not say the same") }
        (entries, size, offset) = wide
      }
    }
    guard size <= maximumDirectory, offset <= limit, limit - offset == size else {
      throw error(at: limit, "its central directory does not end where the record of its end begins")
    }
    return (offset..<limit, entries)
  }

  // MARK: - Entries

  private static func check(_ entry: ZipEntry, at offset: UInt64) throws(FormatError) {
    func refuse(_ text: String) -> FormatError {
      FormatError(at: offset, .malformed(.entry(entry.name), text))
    }
    if entry.hasUnknownFlags { throw refuse("has flags that PyTorch does not set") }
    if entry.method == 0, entry.count != entry.storedCount {
      throw refuse("is not compressed, but has two sizes")
    }
    if entry.isDirectory || entry.hasDirectoryAttribute {
      guard entry.isDirectory, entry.count == 0, entry.storedCount == 0 else {
        throw refuse("is a directory with contents, which readers treat differently")
      }
    }
    let name = entry.isDirectory ? entry.name.dropLast() : entry.name[...]
    let components = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    let isPlain = components.allSatisfy {
      !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8)
    }
    guard isPlain, !entry.name.contains(0), !entry.name.contains(UInt8(ascii: "\\")) else {
      throw refuse("has a name that leads elsewhere")
    }
  }

  /// How long a local header is as a rule: most extra fields are no longer than 64 bytes and the 64 bits of sizes.
  private static func expectedCount(of entry: ZipEntry) -> Int {
    ZipEntry.localCount + entry.name.count + 128
  }

  /// Where the local header of an entry is, and the descriptor before it, in front of `end`.
  private static func announcedRange(of entry: ZipEntry, upTo end: UInt64) -> Range<UInt64> {
    let start = min(entry.headerOffset, end)
    return start - min(start, 24)..<min(end, start + UInt64(expectedCount(of: entry)))
  }

  /// Finds where the contents of each entry begin, and sees to it that the entries fill the file up to `end`.
  private static func locate(_ entries: inout [ZipEntry], upTo end: UInt64, in source: some ByteSource)
    throws(FormatError)
  {
    guard entries.first?.headerOffset ?? end == 0 else {
      throw error(at: 0, "it has bytes before its first entry")
    }
    source.announce(entries.map { announcedRange(of: $0, upTo: end) })
    for position in entries.indices {
      let entry = entries[position]
      let next = position + 1 < entries.count ? entries[position + 1].headerOffset : end
      func refuse(_ text: String) -> FormatError {
        FormatError(at: entry.headerOffset, .malformed(.entry(entry.name), text))
      }
      guard entry.headerOffset <= end, UInt64(ZipEntry.localCount) <= end - entry.headerOffset else {
        throw refuse("has an offset outside the archive")
      }
      let expected = expectedCount(of: entry)
      var header = try source.bytes(
        from: entry.headerOffset, count: Int(min(UInt64(expected), end - entry.headerOffset)))
      let nameEnd = ZipEntry.localCount + Int(littleEndian(header, at: 26, count: 2))
      let headerCount = nameEnd + Int(littleEndian(header, at: 28, count: 2))
      guard littleEndian(header, at: 0, count: 4) == ZipEntry.localSignature,
        UInt64(headerCount) <= end - entry.headerOffset
      else {
        throw refuse("is not where the central directory says")
      }
      if headerCount > header.count {
        header = try source.bytes(from: entry.headerOffset, count: headerCount)
      }
      guard
        entry.agrees(withLocal: header, header[ZipEntry.localCount..<nameEnd], header[nameEnd..<headerCount])
      else {
        throw refuse("is described in two ways: its own header and the central directory differ")
      }
      let dataOffset = entry.headerOffset + UInt64(headerCount)
      guard dataOffset <= next, entry.storedCount <= next - dataOffset else {
        throw refuse("overlaps what follows it")
      }
      entries[position].dataOffset = dataOffset
      // The descriptor is the longest part after the contents.
      let rest = next - dataOffset - entry.storedCount
      guard rest <= 24, entry.agrees(withDescriptor: try source.bytes(from: next - rest, count: Int(rest)))
      else {
        throw refuse("has an invalid data descriptor")
      }
    }
  }
}
