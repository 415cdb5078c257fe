/// The tensors of a file that torch.save or torch.jit.save has written.
package struct PyTorchFile: Sendable {
  /// The tensors, in the order in which they are named.
  package let tensors: [StoredTensor]
  /// What is named and cannot be shown.
  package let omissions: [Omission]
  /// Bytes after the last that belongs to the file; 0 of archives, which would be refused.
  package let trailingBytes: UInt64

  private init(_ walks: [TensorWalk], trailingBytes: UInt64) {
    tensors = walks.flatMap(\.tensors)
    omissions = walks.flatMap(\.omissions)
    self.trailingBytes = trailingBytes
  }

  /// What a file is, by its first bytes.
  package enum Form: Sendable {
    /// A zip archive, since PyTorch 1.6.
    case archive
    /// Five pickles and then the storages, before that.
    case legacy
  }

  /// The form of a file that begins with these bytes, some thirty; nil where it has neither. Not every archive
  /// is PyTorch's.
  package static func form(of prefix: [UInt8]) -> Form? {
    if prefix.starts(with: "PK\u{3}\u{4}".utf8) { return .archive }
    return LegacyFile.magicEnd(of: prefix) == nil ? nil : .legacy
  }

  /// Reads what describes a file's tensors, and nothing of their contents. Takes time and memory in proportion
  /// to that.
  package init(_ source: some ByteSource, form: Form) throws(FormatError) {
    switch form {
    case .archive: try self.init(archive: source)
    case .legacy: try self.init(legacy: source)
    }
  }

  private init(legacy source: some ByteSource) throws(FormatError) {
    let file = try LegacyFile(source)
    let walk = try TensorWalk(file.pickle, storages: file.storages)
    self.init([walk], trailingBytes: source.size - file.end)
  }
}

// MARK: - Archives

extension PyTorchFile {
  private init(archive source: some ByteSource) throws(FormatError) {
    let archive = try ZipArchive(source)
    let root = try Self.root(of: archive)
    if let order = archive[root + "byteorder".utf8] {
      let text = try Self.contents(of: order, in: source)
      guard text.elementsEqual("little".utf8) else {
        throw FormatError(
          at: order.dataOffset,
          text.elementsEqual("big".utf8)
            ? .bigEndian
            : .malformed(.entry(order.name), "is neither 'little' nor 'big'"))
      }
    }
    // An archive of TorchScript has its modules in one pickle, and in another what its code calls CONSTANTS.
    let constants = archive[root + "constants.pkl".utf8]
    var walks: [TensorWalk] = []
    for (pickle, directory) in [("data.pkl", "data/"), ("constants.pkl", "constants/")] {
      guard let entry = archive[root + pickle.utf8] else { continue }
      let pickle = try Self.pickle(entry, in: source, isTorchScript: constants != nil)
      let storages = try Self.storages(of: pickle, in: archive, root + directory.utf8)
      let name = entry.name == constants?.name ? "CONSTANTS" : ""
      walks.append(try TensorWalk(pickle, storages: storages, name: name))
    }
    self.init(walks, trailingBytes: 0)
  }

  private static func pickle(_ entry: ZipEntry, in source: some ByteSource, isTorchScript: Bool)
    throws(FormatError)
    -> Pickle
  {
    let bytes = try contents(of: entry, in: source)
    let pickle = try PickleMachine.read(bytes, at: entry.dataOffset, isTorchScript: isTorchScript)
    guard pickle.size == bytes.count else {
      throw FormatError(
        at: entry.dataOffset + UInt64(pickle.size),
        .malformed(.entry(entry.name), "goes on after its pickle's end"))
    }
    return pickle
  }

  /// Where the storages are that a pickle refers to, by their keys.
  private static func storages(of pickle: Pickle, in archive: ZipArchive, _ directory: [UInt8])
    throws(FormatError)
    -> [[UInt8]: Range<UInt64>]
  {
    var storages: [[UInt8]: Range<UInt64>] = [:]
    for storage in pickle.storages {
      let key = Array(pickle[storage.key])
      guard storages[key] == nil, let data = archive[directory + key] else { continue }
      guard data.method == 0 else {
        throw FormatError(at: data.headerOffset, .malformed(.entry(data.name), "is compressed"))
      }
      let (size, isLarge) = storage.count.multipliedReportingOverflow(by: storage.type.byteCount)
      guard !isLarge, data.count == size else {
        throw FormatError(
          at: data.headerOffset,
          .malformed(.storage(key), "has \(data.count) bytes, but \(storage.count) elements"))
      }
      storages[key] = data.dataRange
    }
    return storages
  }

  /// The directory that everything is in, with its slash.
  private static func root(of archive: ZipArchive) throws(FormatError) -> [UInt8] {
    func directory(_ entry: ZipEntry) -> ArraySlice<UInt8> {
      entry.name.firstIndex(of: UInt8(ascii: "/")).map { entry.name[...$0] } ?? []
    }
    let pickles = archive.entries.filter { entry in
      let root = directory(entry)
      return !root.isEmpty && entry.name[root.endIndex...].elementsEqual("data.pkl".utf8)
    }
    guard let pickle = pickles.first else { throw FormatError(at: nil, .noPickle) }
    let root = directory(pickle)
    if let stranger = archive.entries.first(where: { directory($0) != root }) {
      throw FormatError(
        at: stranger.headerOffset, .malformed(.entry(stranger.name), "is not in the directory of the others"))
    }
    return Array(root)
  }

  /// The contents of an entry that is read as a whole; its checksum has to be right.
  private static func contents(of entry: ZipEntry, in source: some ByteSource) throws(FormatError) -> [UInt8]
  {
    func refuse(_ text: String) -> FormatError {
      FormatError(at: entry.headerOffset, .malformed(.entry(entry.name), text))
    }
    guard entry.method == 0 else { throw refuse("is compressed") }
    guard entry.count <= UInt64(PickleMachine.maximumSize) else { throw refuse("is larger than any pickle") }
    let bytes = try source.bytes(from: entry.dataOffset, count: Int(entry.count))
    guard UInt64(CRC32.checksum(bytes)) == entry.checksum else {
      throw refuse("has another checksum than its contents")
    }
    return bytes
  }
}
