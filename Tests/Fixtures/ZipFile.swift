/// A zip archive in memory, as PyTorch writes it, or deliberately invalid.
public struct ZipFile: Sendable {
  /// One entry. A property that is nil has its correct value.
  public struct Entry: Sendable {
    /// The name's bytes.
    public var name: [UInt8]
    /// The stored contents.
    public var contents: [UInt8]
    /// The flags. Bit 3: sizes and checksum follow the contents, as in all of PyTorch's entries that are not empty.
    public var flags: UInt16
    /// The compression method.
    public var method: UInt16 = 0
    /// The checksum, except where another property below replaces it.
    public var checksum: UInt32
    /// The name in the local header, if it differs from that in the central directory.
    public var localName: [UInt8]?
    /// The flags in the local header.
    public var localFlags: UInt16?
    /// The method in the local header.
    public var localMethod: UInt16?
    /// The checksum in the local header.
    public var localChecksum: UInt32?
    /// Both sizes in the local header.
    public var localSize: UInt32?
    /// The compressed size in the local header.
    public var localStoredSize: UInt32?
    /// The size in the central directory.
    public var centralSize: UInt32?
    /// The offset of the local header in the central directory.
    public var centralOffset: UInt32?
    /// The external attributes.
    public var attributes: UInt32 = 0
    /// The start of the local extra field.
    public var localExtra: [UInt8] = []
    /// The central extra field.
    public var centralExtra: [UInt8] = []
    /// The bytes after the contents, in place of sizes and checksum.
    public var descriptor: [UInt8]?
    /// Bytes after all parts of the entry.
    public var gap: [UInt8] = []

    /// An entry as PyTorch writes it.
    public init(_ name: String, _ contents: some Sequence<UInt8>) {
      self.name = Array(name.utf8)
      self.contents = Array(contents)
      flags = self.contents.isEmpty ? 1 << 11 : 1 << 11 | 1 << 3
      checksum = ZipFile.checksum(self.contents)
    }
  }

  /// The entries, in the order of the file.
  public var entries: [Entry]
  /// Bytes before the first entry, which the offsets do not count.
  public var prefix: [UInt8] = []
  /// A comment at the end.
  public var comment: [UInt8] = []
  /// The number of entries in the end record, if it is wrong.
  public var count: UInt16?
  /// True for 64-bit records, which PyTorch writes for archives of any size.
  public var hasWideEnd = true
  /// The number of entries in the 64-bit end record, if it is wrong.
  public var wideCount: UInt64?

  /// An archive of these entries.
  public init(_ entries: [Entry]) { self.entries = entries }

  /// Changes the entry of this name.
  public mutating func change(_ name: String, _ body: (inout Entry) -> Void) {
    for index in entries.indices where entries[index].name == Array(name.utf8) { body(&entries[index]) }
  }

  /// The offset of an entry's contents.
  public func offset(of name: String) -> Int {
    layout.offsets[entries.firstIndex { $0.name == Array(name.utf8) } ?? 0]
  }

  /// The whole file.
  public var bytes: [UInt8] {
    let (local, _, starts) = layout
    var central: [UInt8] = []
    for (entry, start) in zip(entries, starts) {
      let size = entry.centralSize ?? UInt32(entry.contents.count)
      central += Array("PK\u{1}\u{2}".utf8) + Fixtures.bytes(UInt32(0)) + Fixtures.bytes(entry.flags)
      central += Fixtures.bytes(entry.method) + Fixtures.bytes(UInt32(0)) + Fixtures.bytes(entry.checksum)
      central += Fixtures.bytes(size) + Fixtures.bytes(size)
      central += Fixtures.bytes(UInt16(entry.name.count)) + Fixtures.bytes(UInt16(entry.centralExtra.count))
      central +=
        [UInt8](repeating: 0, count: 6) + Fixtures.bytes(entry.attributes)
        + Fixtures.bytes(entry.centralOffset ?? UInt32(start))
      central += entry.name + entry.centralExtra
    }
    var end: [UInt8] = []
    if hasWideEnd {
      let wideCount = wideCount ?? UInt64(entries.count)
      end += Array("PK\u{6}\u{6}".utf8) + Fixtures.bytes(UInt64(44)) + Fixtures.bytes(UInt32(0x001E_031E))
      end += [UInt8](repeating: 0, count: 8) + Fixtures.bytes(wideCount) + Fixtures.bytes(wideCount)
      end += Fixtures.bytes(UInt64(central.count)) + Fixtures.bytes(UInt64(local.count))
      end += Array("PK\u{6}\u{7}".utf8) + Fixtures.bytes(UInt32(0))
      end += Fixtures.bytes(UInt64(local.count + central.count)) + Fixtures.bytes(UInt32(1))
    }
    let count = count ?? UInt16(entries.count)
    end +=
      Array("PK\u{5}\u{6}".utf8) + Fixtures.bytes(UInt32(0)) + Fixtures.bytes(count) + Fixtures.bytes(count)
    end += Fixtures.bytes(UInt32(central.count)) + Fixtures.bytes(UInt32(local.count))
    end += Fixtures.bytes(UInt16(comment.count)) + comment
    return prefix + local + central + end
  }

  private var layout: (bytes: [UInt8], offsets: [Int], starts: [Int]) {
    var bytes: [UInt8] = []
    var offsets: [Int] = []
    var starts: [Int] = []
    for entry in entries {
      starts.append(bytes.count)
      let name = entry.localName ?? entry.name
      let flags = entry.localFlags ?? entry.flags
      let isLeft = entry.flags & 8 != 0
      let size = entry.localSize ?? (isLeft ? 0 : UInt32(entry.contents.count))
      // A block without meaning in the extra field makes the contents begin at a multiple of 64 bytes.
      let plain = bytes.count + 30 + name.count + entry.localExtra.count + 4
      let padding = (64 - plain % 64) % 64
      bytes += Array("PK\u{3}\u{4}".utf8) + Fixtures.bytes(UInt16(0)) + Fixtures.bytes(flags)
      bytes += Fixtures.bytes(entry.localMethod ?? entry.method) + Fixtures.bytes(UInt32(0))
      bytes += Fixtures.bytes(entry.localChecksum ?? (isLeft ? 0 : entry.checksum))
      bytes += Fixtures.bytes(entry.localStoredSize ?? size) + Fixtures.bytes(size)
      bytes += Fixtures.bytes(UInt16(name.count))
      bytes += Fixtures.bytes(UInt16(entry.localExtra.count + 4 + padding)) + name + entry.localExtra
      bytes += Array("FB".utf8) + Fixtures.bytes(UInt16(padding)) + [UInt8](repeating: 0x5A, count: padding)
      offsets.append(prefix.count + bytes.count)
      bytes += entry.contents
      let count = UInt32(entry.contents.count)
      let descriptor =
        Array("PK\u{7}\u{8}".utf8) + Fixtures.bytes(entry.checksum) + Fixtures.bytes(count)
        + Fixtures.bytes(count)
      bytes += entry.descriptor ?? (isLeft ? descriptor : [])
      bytes += entry.gap
    }
    return (bytes, offsets, starts)
  }

  /// CRC-32, bit by bit.
  public static func checksum(_ bytes: [UInt8]) -> UInt32 {
    var value = UInt32.max
    for byte in bytes {
      value ^= UInt32(byte)
      for _ in 0..<8 { value = value >> 1 ^ (value & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    return ~value
  }
}
