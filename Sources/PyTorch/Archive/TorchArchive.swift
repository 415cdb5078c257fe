/// An archive of torch.save or torch.jit.save. All its entries are in one directory.
struct TorchArchive<Source: ByteSource> {
  let archive: ZipArchive
  private let source: Source
  /// The directory's name, with a trailing slash.
  let root: [UInt8]

  init(_ source: Source) throws(FormatError) {
    self.source = source
    archive = try ZipArchive(source)
    root = try Self.root(of: archive)
  }

  /// The entry with this name in the directory, or nil.
  func entry(_ name: some Collection<UInt8>) throws(FormatError) -> ZipEntry? {
    try archive.entry(root + name)
  }

  /// The entries of a directory whose names end in `suffix`, each with its name between directory and suffix.
  func entries(in directory: String, _ suffix: String) -> [(entry: ZipEntry, stem: [UInt8])] {
    let start = root + directory.utf8
    return archive.entries.compactMap { entry in
      guard entry.name.count > start.count + suffix.utf8.count, entry.name.starts(with: start),
        entry.name.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
      else { return nil }
      return (entry, Array(entry.name.dropFirst(start.count).dropLast(suffix.utf8.count)))
    }
  }

  private static func root(of archive: ZipArchive) throws(FormatError) -> [UInt8] {
    func directory(of name: String) -> ArraySlice<UInt8>? {
      archive.entries.first { $0.isCalled(name) }?.directory
    }
    // A torch.export program has this entry instead of a pickle.
    guard let root = directory(of: "data.pkl") ?? directory(of: "archive_format") else {
      for (name, kind) in foreignNames where directory(of: name) != nil {
        throw FormatError(at: nil, .foreign(kind))
      }
      throw FormatError(at: nil, .noPickle)
    }
    for entry in archive.entries where entry.directory != root && !entry.isLitter {
      throw FormatError(
        at: entry.headerOffset, .malformed(.entry(entry.name), "is outside the archive's top-level directory")
      )
    }
    return Array(root)
  }

  /// Entries that identify an archive without a pickle.
  private static var foreignNames: KeyValuePairs<String, FormatError.ForeignArchive> {
    [
      ".data/extern_modules": .package,
      "serialized_exported_program.json": .exported,
      "model.json": .oldTorchScript,
    ]
  }

  /// Throws if the archive was written on a big-endian machine.
  func checkByteOrder() throws(FormatError) {
    guard let entry = try entry("byteorder".utf8) else { return }
    let text = try contents(of: entry)
    if text.elementsEqual("big".utf8) { throw FormatError(at: entry.dataOffset, .bigEndian) }
    guard text.elementsEqual("little".utf8) else {
      throw FormatError(
        at: entry.dataOffset, .malformed(.entry(entry.name), "must contain 'little' or 'big'"))
    }
  }

  /// Reads the pickle in an entry. Throws if the entry has bytes after the pickle.
  func pickle(_ entry: ZipEntry, references: PickleMachine.References) throws(FormatError) -> Pickle {
    let bytes = try contents(of: entry)
    let pickle = try PickleMachine.read(bytes, at: entry.dataOffset, references: references)
    guard pickle.end == bytes.count else {
      throw FormatError(
        at: entry.dataOffset + UInt64(pickle.end),
        .malformed(.entry(entry.name), "has bytes after the end of its pickle"))
    }
    return pickle
  }

  /// The range of each storage of a pickle; nil if the archive lacks it. Storages are entries below
  /// `directory`, named by their keys.
  func storages(of pickle: Pickle, in directory: String) throws(FormatError) -> [Range<UInt64>?] {
    var ranges: [Range<UInt64>?] = []
    // A pickle can refer to one long key a million times.
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
            .storage(Array(pickle[storage.key])),
            "has \(data.count) bytes, but the pickle declares \(storage.count) elements"))
      }
      ranges.append(data.dataRange)
    }
    return ranges
  }

  func checkStored(_ entry: ZipEntry) throws(FormatError) {
    if entry.method != 0 { throw FormatError(at: entry.headerOffset, .compressed(entry: entry.name)) }
  }

  /// Reads a whole entry. Its checksum must be correct, or 0: torch.serialization.set_crc32_options turns
  /// checksums off, and the writer then stores 0.
  func contents(of entry: ZipEntry) throws(FormatError) -> [UInt8] {
    try checkStored(entry)
    guard entry.count <= UInt64(PickleMachine.maximumSize) else {
      throw FormatError(
        at: entry.headerOffset, .malformed(.entry(entry.name), "is larger than 100 MB, the limit for pickles")
      )
    }
    let bytes = try source.bytes(from: entry.dataOffset, count: Int(entry.count))
    guard entry.checksum == 0 || UInt64(CRC32.checksum(bytes)) == entry.checksum else {
      throw FormatError(
        at: entry.headerOffset,
        .malformed(.entry(entry.name), "has a checksum that does not match its contents"))
    }
    return bytes
  }
}

extension ZipEntry {
  /// The part of the name up to and including its first slash; empty without one.
  fileprivate var directory: ArraySlice<UInt8> {
    name.firstIndex(of: UInt8(ascii: "/")).map { name[...$0] } ?? []
  }

  /// True if the entry has this name in any directory.
  fileprivate func isCalled(_ name: String) -> Bool {
    let directory = directory
    return !directory.isEmpty && self.name[directory.endIndex...].elementsEqual(name.utf8)
  }

  /// Entries that macOS adds to archives. No reader uses them.
  fileprivate var isLitter: Bool {
    name.starts(with: "__MACOSX/".utf8) || name.elementsEqual(".DS_Store".utf8)
  }
}
