/// The entries of a zip archive, if all zip readers agree on them.
///
/// A zip archive describes each entry twice: in a local header before the contents, and in a central
/// directory at the end. Readers differ in which one they use, and attackers exploit that to evade scanners.
/// So the two must agree, and no bytes may precede, separate or follow the entries: APPNOTE 4.3.6.
struct ZipArchive {
  /// The entries, in file order.
  let entries: [ZipEntry]
  private let positions: [[UInt8]: Int]

  /// The maximum size of the central directory, in bytes.
  private static let maximumDirectory: UInt64 = 100_000_000
  private static let endCount: UInt64 = 22
  private static let locatorCount: UInt64 = 20
  private static let end64Count: UInt64 = 56
  private static let expectedEnd: UInt64 = 64 << 10

  /// The entry with this name, or nil. Throws if the name differs only in case: PyTorch's own reader ignores
  /// case.
  func entry(_ name: [UInt8]) throws(FormatError) -> ZipEntry? {
    guard let position = positions[Self.lowercased(name)] else { return nil }
    let entry = entries[position]
    guard entry.name == name else {
      throw FormatError(
        at: entry.headerOffset,
        .malformed(.entry(entry.name), "differs in case from the name that PyTorch writes"))
    }
    return entry
  }

  /// A name in lowercase ASCII, as miniz, PyTorch's zip reader, compares it.
  private static func lowercased(_ name: [UInt8]) -> [UInt8] {
    name.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
  }

  /// Reads the central directory and the local headers, with one or two reads per entry.
  init(_ source: some ByteSource) throws(FormatError) {
    // The end records, and in most archives the whole central directory.
    source.announce([source.size - min(source.size, Self.expectedEnd)..<source.size])
    let directory = try Self.directory(of: source)
    let bytes = try source.bytes(from: directory.range.lowerBound, count: directory.range.count)
    var entries: [ZipEntry] = []
    var position = 0
    while position < bytes.count {
      let offset = directory.range.lowerBound + UInt64(position)
      guard let entry = ZipEntry(central: bytes, at: &position) else {
        throw FormatError(
          at: offset, .malformed(.file, "invalid entry in the zip archive's central directory"))
      }
      try Self.check(entry, at: offset)
      entries.append(entry)
    }
    guard UInt64(entries.count) == directory.count else {
      throw Self.error(
        at: directory.range.upperBound,
        "the end record counts \(directory.count) entries, the central directory lists \(entries.count)")
    }
    entries.sort { $0.headerOffset < $1.headerOffset }
    try Self.locate(&entries, upTo: directory.range.lowerBound, in: source)

    var positions: [[UInt8]: Int] = [:]
    for (position, entry) in entries.enumerated() {
      guard positions.updateValue(position, forKey: Self.lowercased(entry.name)) == nil else {
        throw FormatError(
          at: entry.headerOffset,
          .malformed(.entry(entry.name), "is a duplicate, or differs from another entry only in case")
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
  /// must be the last 22 bytes, since an archive comment can contain a second end record.
  private static func directory(of source: some ByteSource) throws(FormatError)
    -> (range: Range<UInt64>, count: UInt64)
  {
    let noEnd = error(
      at: source.size, "no zip end record: the archive is truncated, or bytes follow it")
    guard source.size >= endCount else { throw noEnd }
    let start = source.size - endCount
    let end = try source.bytes(from: start, count: Int(endCount))
    func field(_ offset: Int, _ count: Int) -> UInt64 { littleEndian(end, at: offset, count: count) }
    guard field(0, 4) == 0x0605_4B50 else { throw noEnd }
    guard field(4, 2) == 0, field(6, 2) == 0, field(20, 2) == 0 else {
      throw error(at: start, "the zip archive has several parts, or a comment")
    }
    var (entries, size, offset) = (field(10, 2), field(12, 4), field(16, 4))
    guard field(8, 2) == entries else {
      throw error(at: start, "the zip end record has two different entry counts")
    }
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
        else { throw error(at: limit, "invalid zip64 end record or locator") }
        // The 32-bit record has the same numbers, or all ones for those that do not fit.
        let wide = (field64(32, 8), field64(40, 8), field64(48, 8))
        guard entries == wide.0 || entries == 0xFFFF, size == wide.1 || size == 0xFFFF_FFFF,
          offset == wide.2 || offset == 0xFFFF_FFFF
        else { throw error(at: limit, "the zip end record and the zip64 end record differ") }
        (entries, size, offset) = wide
      }
    }
    guard size <= maximumDirectory, offset <= limit, limit - offset == size else {
      throw error(at: limit, "the central directory does not end where the zip end record begins")
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
      throw refuse("is not compressed, but its two sizes differ")
    }
    if entry.isDirectory || entry.hasDirectoryAttribute {
      guard entry.isDirectory, entry.count == 0, entry.storedCount == 0 else {
        throw refuse("is a directory with contents, which zip readers treat differently")
      }
    }
    let name = entry.isDirectory ? entry.name.dropLast() : entry.name[...]
    let components = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    let isPlain = components.allSatisfy {
      !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8)
    }
    guard isPlain, !entry.name.contains(0), !entry.name.contains(UInt8(ascii: "\\")) else {
      throw refuse("has an unsafe name: '..', a backslash, a NUL, or an empty component")
    }
  }

  /// How many bytes to read for a local header: most have at most 128 bytes of extra fields.
  private static func expectedCount(of entry: ZipEntry) -> Int {
    ZipEntry.localCount + entry.name.count + 128
  }

  /// The range to prefetch for an entry: its local header, and the previous entry's descriptor. Ends before
  /// `end`.
  private static func announcedRange(of entry: ZipEntry, upTo end: UInt64) -> Range<UInt64> {
    let start = min(entry.headerOffset, end)
    return start - min(start, 24)..<min(end, start + UInt64(expectedCount(of: entry)))
  }

  /// Finds where the contents of each entry begin, and checks that the entries fill the file up to `end`.
  private static func locate(_ entries: inout [ZipEntry], upTo end: UInt64, in source: some ByteSource)
    throws(FormatError)
  {
    guard entries.first?.headerOffset ?? end == 0 else {
      throw error(at: 0, "unexpected bytes before the first entry of the zip archive")
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
        throw refuse("is not at the offset that the central directory gives")
      }
      if headerCount > header.count {
        header = try source.bytes(from: entry.headerOffset, count: headerCount)
      }
      guard
        entry.agrees(withLocal: header, header[ZipEntry.localCount..<nameEnd], header[nameEnd..<headerCount])
      else {
        throw refuse("has a local header that differs from the central directory")
      }
      let dataOffset = entry.headerOffset + UInt64(headerCount)
      guard dataOffset <= next, entry.storedCount <= next - dataOffset else {
        throw refuse("overlaps the next entry, or the central directory")
      }
      entries[position].dataOffset = dataOffset
      // The descriptor is the longest part that may follow the contents.
      let rest = next - dataOffset - entry.storedCount
      guard rest <= 24, entry.agrees(withDescriptor: try source.bytes(from: next - rest, count: Int(rest)))
      else {
        throw refuse("has an invalid data descriptor")
      }
    }
  }
}
