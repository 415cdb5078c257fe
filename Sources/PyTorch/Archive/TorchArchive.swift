/// An archive of torch.save or torch.jit.save: one directory with everything in it.
struct TorchArchive<Source: ByteSource> {
  let archive: ZipArchive
  private let source: Source
  /// The directory, with its slash.
  let root: [UInt8]

  init(_ source: Source) throws(FormatError) {
    self.source = source
    archive = try ZipArchive(source)
    root = try Self.root(of: archive)
  }

  /// The entry of this name in the directory, or nil.
  func entry(_ name: some Collection<UInt8>) throws(FormatError) -> ZipEntry? {
    try archive.entry(root + name)
  }

  private static func root(of archive: ZipArchive) throws(FormatError) -> [UInt8] {
    func directory(of name: String) -> ArraySlice<UInt8>? {
      archive.entries.first { $0.isCalled(name) }?.directory
    }
    // A program of torch.export has this in place of a pickle.
    guard let root = directory(of: "data.pkl") ?? directory(of: "archive_format") else {
      for (name, kind) in foreignNames where directory(of: name) != nil {
        throw FormatError(at: nil, .foreign(kind))
      }
      throw FormatError(at: nil, .noPickle)
    }
    for entry in archive.entries where entry.directory != root && !entry.isLitter {
      throw FormatError(
        at: entry.headerOffset, .malformed(.entry(entry.name), "is not in the directory of the others"))
    }
    return Array(root)
  }

  /// What tells an archive without a pickle of its own.
  private static var foreignNames: KeyValuePairs<String, FormatError.ForeignArchive> {
    [
      ".data/extern_modules": .package,
      "serialized_exported_program.json": .exported,
      "model.json": .oldTorchScript,
    ]
  }

  /// Refuses what was written on a big-endian machine.
  func checkByteOrder() throws(FormatError) {
    guard let entry = try entry("byteorder".utf8) else { return }
    let text = try contents(of: entry)
    if text.elementsEqual("big".utf8) { throw FormatError(at: entry.dataOffset, .bigEndian) }
    guard text.elementsEqual("little".utf8) else {
      throw FormatError(at: entry.dataOffset, .malformed(.entry(entry.name), "is neither 'little' nor 'big'"))
    }
  }

  /// The pickle that an entry is, and nothing else.
  func pickle(_ entry: ZipEntry, references: PickleMachine.References) throws(FormatError) -> Pickle {
    let bytes = try contents(of: entry)
    let pickle = try PickleMachine.read(bytes, at: entry.dataOffset, references: references)
    guard pickle.end == bytes.count else {
      throw FormatError(
        at: entry.dataOffset + UInt64(pickle.end),
        .malformed(.entry(entry.name), "goes on after its pickle's end"))
    }
    return pickle
  }

  /// Where each storage of a pickle is; they are entries below `directory`, called by their keys.
  func storages(of pickle: Pickle, in directory: String) throws(FormatError) -> [Range<UInt64>?] {
    var ranges: [Range<UInt64>?] = []
    // A long key may be recalled a million times.
    var entries: [Pickle.Text: ZipEntry?] = [:]
    for storage in pickle.storages {
      if entries[storage.key] == nil {
        let found = try entry(Array(directory.utf8) + Array(pickle[storage.key]))
        entries[storage.key] = .some(found)
      }
      guard let data = entries[storage.key] ?? nil, !data.isDirectory else {
        ranges.append(nil)
        continue
      }
      try checkStored(data)
      let (size, isLarge) = storage.count.multipliedReportingOverflow(by: storage.type.byteCount)
      guard !isLarge, data.count == size else {
        throw FormatError(
          at: data.headerOffset,
          .malformed(
            .storage(Array(pickle[storage.key])), "has \(data.count) bytes, but \(storage.count) elements"))
      }
      ranges.append(data.dataRange)
    }
    return ranges
  }

  func checkStored(_ entry: ZipEntry) throws(FormatError) {
    if entry.method != 0 { throw FormatError(at: entry.headerOffset, .compressed(entry: entry.name)) }
  }

  /// The contents of an entry that is read as a whole; its checksum has to be right, or 0 if the writer
  /// was told to make none: torch.serialization.set_crc32_options.
  func contents(of entry: ZipEntry) throws(FormatError) -> [UInt8] {
    try checkStored(entry)
    guard entry.count <= UInt64(PickleMachine.maximumSize) else {
      throw FormatError(at: entry.headerOffset, .malformed(.entry(entry.name), "is larger than any pickle"))
    }
    let bytes = try source.bytes(from: entry.dataOffset, count: Int(entry.count))
    guard entry.checksum == 0 || UInt64(CRC32.checksum(bytes)) == entry.checksum else {
      throw FormatError(
        at: entry.headerOffset, .malformed(.entry(entry.name), "has another checksum than its contents"))
    }
    return bytes
  }
}

extension ZipEntry {
  /// The part of the name up to its first slash, which belongs to it; empty without one.
  fileprivate var directory: ArraySlice<UInt8> {
    name.firstIndex(of: UInt8(ascii: "/")).map { name[...$0] } ?? []
  }

  /// True if this is its name in a directory.
  fileprivate func isCalled(_ name: String) -> Bool {
    let directory = directory
    return !directory.isEmpty && self.name[directory.endIndex...].elementsEqual(name.utf8)
  }

  /// What macOS adds to archives, which no reader looks for.
  fileprivate var isLitter: Bool {
    name.starts(with: "__MACOSX/".utf8) || name.elementsEqual(".DS_Store".utf8)
  }
}
