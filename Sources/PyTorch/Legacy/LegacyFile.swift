/// A file in the format before PyTorch 1.6.
///
/// It consists of five pickles (a magic number, a version, system information, the object, and the keys of
/// the object's storages), followed by the size and bytes of each storage.
struct LegacyFile {
  /// The first pickle's opcodes: LONG1 0x1950A86A20F9469CFC6C, STOP.
  private static let magic: [UInt8] = [
    0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
  ]

  /// The same at protocol 1, in decimal digits: LONG, STOP.
  private static let textMagic = Array("L119547037146038801333356L\n.".utf8)

  /// The end of the first pickle; nil if it is not the magic number. PROTO precedes the number at protocol 2
  /// and later, and FRAME at protocol 4 and later.
  static func magicEnd(of prefix: [UInt8]) -> Int? {
    if prefix.starts(with: textMagic) { return textMagic.count }
    guard prefix.count >= 2, prefix[0] == PickleOpcode.proto.rawValue, (2...5).contains(prefix[1]) else {
      return nil
    }
    let start = prefix.dropFirst(2).first == PickleOpcode.frame.rawValue ? 11 : 2
    return prefix.dropFirst(start).starts(with: magic) ? start + magic.count : nil
  }

  /// The fourth pickle.
  let pickle: Pickle
  /// The range of each storage of the pickle; nil if the file lacks it.
  let storages: [Range<UInt64>?]
  /// The end of the last storage, or of the last pickle if there are no storages.
  let end: UInt64

  init(_ source: some ByteSource) throws(FormatError) {
    // The file does not store the pickles' lengths, and the storages after them are long. So read a prefix,
    // and a longer one if it turns out too short.
    var count = 1 << 16
    while true {
      let limit = min(source.size, UInt64(PickleMachine.maximumSize))
      let start = try source.bytes(from: 0, count: Int(min(limit, UInt64(count))))
      do throws(FormatError) {
        try self.init(start, source)
        return
      } catch {
        guard error.problem == .truncated, error.offset == UInt64(start.count), UInt64(start.count) < limit
        else {
          throw error
        }
      }
      count *= 8
    }
  }

  /// Reads a file that begins with `start`.
  private init(_ start: [UInt8], _ source: some ByteSource) throws(FormatError) {
    let magicEnd = Self.magicEnd(of: start) ?? 0
    // torch.load tries the tar format first.
    if TarArchive.isHeader(start) {
      throw FormatError(
        at: 0, .malformed(.file, "it is also a valid tar archive, which would be another model"))
    }
    let version = try PickleMachine.read(start, from: magicEnd, at: 0)
    guard version.count(version.root) == 1001 else {
      throw FormatError(
        at: UInt64(magicEnd), .malformed(.file, "unsupported version of the legacy format (expected 1001)"))
    }
    let system = try PickleMachine.read(start, from: version.end, at: 0)
    guard case .bool(let isLittle)? = system.value(of: "little_endian", in: system.root) else {
      throw FormatError(
        at: UInt64(version.end),
        .malformed(.file, "no byte order ('little_endian') in its system information"))
    }
    guard isLittle else { throw FormatError(at: UInt64(version.end), .bigEndian) }
    pickle = try PickleMachine.read(start, from: system.end, at: 0)
    let keys = try PickleMachine.read(start, from: pickle.end, at: 0)
    guard let list = keys.sequence(keys.root) else {
      throw FormatError(at: UInt64(pickle.end), .malformed(.file, "the storage keys are not a list"))
    }

    var rows: [[UInt8]: Int] = [:]
    for (row, storage) in pickle.storages.enumerated() where storage.root < 0 {
      rows[Array(pickle[storage.key])] = row
    }
    var position = UInt64(keys.end)
    var storages: [Range<UInt64>?] = Array(repeating: nil, count: pickle.storages.count)
    for item in list {
      guard let key = keys.string(item).map({ Array($0) }) else {
        throw FormatError(at: UInt64(pickle.end), .malformed(.file, "a storage key is not a string"))
      }
      guard let row = rows[key] else {
        throw FormatError(
          at: position, .malformed(.storage(key), "is not used by the pickle, so its size is unknown"))
      }
      guard source.size - position >= 8 else { throw FormatError(at: source.size, .truncated) }
      let count = littleEndian(try source.bytes(from: position, count: 8), at: 0, count: 8)
      let (size, isLarge) = count.multipliedReportingOverflow(by: pickle.storages[row].type.byteCount)
      position += 8
      guard !isLarge, size <= source.size - position else { throw FormatError(at: source.size, .truncated) }
      guard count == pickle.storages[row].count else {
        throw FormatError(
          at: position - 8,
          .malformed(
            .storage(key), "has \(count) elements, but the pickle declares \(pickle.storages[row].count)"))
      }
      guard storages[row] == nil else {
        throw FormatError(at: position, .malformed(.storage(key), "is a duplicate"))
      }
      storages[row] = position..<position + size
      position += size
    }
    self.storages = storages
    end = position
  }
}
