/// The tensors of a file written by torch.save or torch.jit.save.
package struct PyTorchFile: Sendable {
  private let table: TensorTable
  /// The full names of unknown classes and functions, in file order, without duplicates; not necessarily
  /// UTF-8. Nothing executed them; torch.load might import and call them.
  package let unknownGlobals: [[UInt8]]
  /// The number of bytes after the file's contents. Archives with such bytes are refused, so 0 for them.
  package let trailingBytes: UInt64

  /// The tensors, in file order.
  package var tensors: StoredTensors { StoredTensors(table: table) }
  /// The named tensors that cannot be shown.
  package var omissions: Omissions { Omissions(table: table) }

  /// The format of a file, as its first bytes tell.
  package enum Form: Sendable {
    /// A zip archive: PyTorch 1.6 and later.
    case archive
    /// Five pickles and then the storages: before PyTorch 1.6.
    case legacy
    /// A tar archive: before PyTorch 0.1.10.
    case tar
  }

  /// The form of a file with this prefix of about 30 bytes, or nil. An archive may also be another program's.
  package static func form(of prefix: [UInt8]) -> Form? {
    if prefix.starts(with: "PK\u{3}\u{4}".utf8) { return .archive }
    if LegacyTar.isStart(prefix) { return .tar }
    return LegacyFile.magicEnd(of: prefix) == nil ? nil : .legacy
  }

  /// Reads the descriptions of a file's tensors, but not their elements. Takes time and memory in proportion
  /// to the descriptions. If `name` is not empty, it becomes the first part of every tensor's name. Without
  /// `exportReader`, programs of torch.export are refused.
  package init(
    _ source: some ByteSource, form: Form, below name: [UInt8] = [], exportReader: ExportReader? = nil
  ) throws(FormatError) {
    switch form {
    case .archive: try self.init(archive: source, name, exportReader)
    case .legacy: try self.init(legacy: source, name)
    case .tar: try self.init(tar: source, name)
    }
  }

  private init(legacy source: some ByteSource, _ name: [UInt8]) throws(FormatError) {
    let file = try LegacyFile(source)
    var table = TensorTable()
    try TensorWalk.walk(file.pickle, storages: file.storages, name: name, into: &table)
    self.table = table
    unknownGlobals = file.pickle.unknownGlobals
    trailingBytes = source.size - file.end
  }

  private init(tar source: some ByteSource, _ name: [UInt8]) throws(FormatError) {
    let file = try LegacyTar(source)
    var table = TensorTable()
    try TensorWalk.walk(file.pickle, storages: [], externals: file.externals, name: name, into: &table)
    self.table = table
    unknownGlobals = file.pickle.unknownGlobals
    trailingBytes = 0
  }

  private init(archive source: some ByteSource, _ name: [UInt8], _ exportReader: ExportReader?)
    throws(FormatError)
  {
    let archive = try TorchArchive(source)
    try archive.checkByteOrder()
    if try archive.entry("data.pkl".utf8) == nil {
      guard let exportReader else { throw FormatError(at: nil, .foreign(.exported)) }
      table = try TensorTable(exported: archive, reader: exportReader)
      unknownGlobals = []
      trailingBytes = 0
      return
    }
    // TorchScript has its modules in one pickle, and the CONSTANTS of its code in another.
    let constants = try archive.entry("constants.pkl".utf8)
    var table = TensorTable()
    var unknown: [[UInt8]] = []
    for (file, directory, part) in [
      ("data.pkl", "data/", ""), ("constants.pkl", "constants/", "CONSTANTS"),
    ] {
      guard let entry = try archive.entry(file.utf8) else { continue }
      let pickle = try archive.pickle(entry, references: constants == nil ? .storages : .torchScript)
      let storages = try archive.storages(of: pickle, in: directory)
      let separator = name.isEmpty || part.isEmpty ? "" : "."
      try TensorWalk.walk(pickle, storages: storages, name: name + (separator + part).utf8, into: &table)
      unknown += pickle.unknownGlobals.filter { !unknown.contains($0) }
    }
    self.table = table
    unknownGlobals = unknown
    trailingBytes = 0
  }
}
