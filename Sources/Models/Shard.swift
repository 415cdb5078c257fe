internal import Linux
internal import PyTorch
package import Safetensors
package import SystemPackage

/// A checked header, and where the tensors' bytes are: in one file, in a file for each tensor, in slices of
/// other shards, or computed.
package struct Shard: Sendable {
  /// What kind of source a shard is; the raw value is its name in metadata.json.
  package enum Format: String, Sendable {
    /// A safetensors file.
    case safetensors
    /// A torch.save file of any age.
    case pyTorch = "pytorch"
    /// A file of PyTorch's distributed checkpoints. Each slice in it is a torch.save file.
    case distributed = "dcp"
    /// A mount or a copy of one, with a file for each tensor.
    case directory
  }

  /// Where the tensors' bytes come from. Lists are in the order of ``header``.
  package enum Contents: Sendable {
    /// From ``file``.
    case file
    /// From a file for each tensor; ``file`` describes the tensors.
    case files([SourceFile])
    /// From slices in other shards; ``file`` is the first one's file.
    case assembled(Assembly)
    /// Computed from other tensors; ``file`` is the file of one of the model's shards.
    case computed(ComputedTensors)
  }

  package let file: SourceFile
  package let format: Format
  /// The header; for a PyTorch file, the pickle's description of tensors in the same form.
  package internal(set) var header: Header
  /// Tensors that the file names, but ``header`` lacks.
  package internal(set) var omitted: [OmittedTensor] = []
  /// The full names of unknown classes and functions in a PyTorch file, in file order. Nothing executed them.
  /// They need not be UTF-8, and are not safe to print.
  package private(set) var unknownGlobals: [[UInt8]] = []
  /// Warnings about names; safe to print.
  private(set) var notes: [String] = []
  package let contents: Contents
  /// The name in metadata.json: the file name, or the path if another source has the same file name.
  package internal(set) var name: String

  /// The files that contain the tensors' bytes.
  package var files: [SourceFile] {
    switch contents {
    case .file: [file]
    case .files(let files): files
    case .assembled(let assembly): assembly.shards.map(\.file)
    case .computed(let computed): computed.files
    }
  }

  /// True if the tensors' bytes are parts of files.
  package var isStored: Bool {
    switch contents {
    case .file, .files: true
    case .assembled, .computed: false
    }
  }

  /// Opens a file and reads its header.
  ///
  /// Reads the header into memory, not through the mapping: if the file is truncated meanwhile, that must be
  /// an error and not SIGBUS. A PyTorch file's pickle is read as a description, and never executed.
  package init(opening path: FilePath, lenient: Bool = false) throws(ModelError) {
    let file = try SourceFile.opening(path)
    self.file = file
    contents = .file
    name = String(decoding: path.fileName, as: UTF8.self)
    let beginning = try ModelError.translating("read", path) {
      try file.read(from: 0, count: Int(min(file.size, Self.firstRead)))
    }
    let start = Array(beginning.prefix(ForeignFormat.prefixSize))
    if let form = try PyTorchFile.form(of: start, in: file, path) {
      format = .pyTorch
      (header, omitted, unknownGlobals, notes) = try Self.readPyTorch(file, form, path, lenient: lenient)
    } else {
      format = .safetensors
      header = try Self.readHeader(file, beginning, path, lenient: lenient)
    }
  }

  /// The size of the first read, in bytes. Most headers are shorter, and requests over a network are slow.
  private static let firstRead: UInt64 = 64 << 10

  private static func readPyTorch(
    _ file: SourceFile, _ form: PyTorchFile.Form, _ path: FilePath, lenient: Bool
  )
    throws(ModelError) -> (Header, [OmittedTensor], [[UInt8]], [String])
  {
    try ModelError.translating("read", path) {
      do {
        let contents = try PyTorchFile(FilePart(of: file), form: form, exportReader: ExportedProgram.tensors)
        guard contents.trailingBytes == 0 || lenient else {
          throw FormatError(trailing: contents.trailingBytes, fileSize: file.size)
        }
        var header = PyTorchHeader(path)
        try header.add(contents)
        return (
          header.header(trailingBytes: contents.trailingBytes), header.omitted, contents.unknownGlobals,
          header.notes
        )
      } catch let error as FormatError {
        // If another program wrote the archive, saying so is more useful than this reader's error.
        guard form == .archive else { throw error }
        if case .foreign = error.problem { throw error }
        let names = try zipEntryNames(in: file)
        let isPyTorch = names.contains { name in
          ["data.pkl", "constants.pkl", "archive_format"].contains {
            name.suffix($0.utf8.count).elementsEqual($0.utf8)
          }
        }
        if names.isEmpty || isPyTorch { throw error }
        throw ModelError(header: .foreignFormat(ForeignFormat(zipEntries: names)), path)
      }
    }
  }

  private static func readHeader(_ file: SourceFile, _ beginning: [UInt8], _ path: FilePath, lenient: Bool)
    throws(ModelError) -> Header
  {
    let start = Array(beginning.prefix(ForeignFormat.prefixSize))
    return try ModelError.translating("read", path) {
      do {
        let length = try HeaderPrefix.length(start: start, fileSize: file.size)
        let end = Int(HeaderPrefix.size) + length
        let json =
          end <= beginning.count
          ? Array(beginning[Int(HeaderPrefix.size)..<end])
          : try file.read(from: HeaderPrefix.size, count: length)
        return try Header(json: json.span, fileSize: file.size, allowsTrailingBytes: lenient)
      } catch let error as HeaderError {
        // Only after the header was refused: its length can look like another format's first bytes.
        guard let foreign = ForeignFormat(prefix: start) else { throw error }
        throw ModelError(header: error, path, problem: foreign.description(of: start, in: path.fileName))
      }
    }
  }

  /// Makes a shard of computed tensors. It has no file of its own; `shard` is one that the tensors come from.
  init(_ computed: ComputedTensors, described header: Header, beside shard: Shard) {
    file = shard.file
    format = shard.format
    self.header = header
    contents = .computed(computed)
    name = shard.name
  }

  /// Makes a shard of tensors that each have a file. `document` describes them, `files` has them in the
  /// header's order.
  init(_ files: [SourceFile], described header: Header, by document: SourceFile) {
    file = document
    format = .directory
    self.header = header
    contents = .files(files)
    name = String(decoding: document.path.fileName, as: UTF8.self)
  }

  /// Makes a shard of one file of a distributed checkpoint. `notes` are safe to print.
  init(
    _ file: SourceFile, header: Header, omitted: [OmittedTensor], unknownGlobals: [[UInt8]], notes: [String]
  ) {
    self.file = file
    format = .distributed
    contents = .file
    self.header = header
    self.omitted = omitted
    self.unknownGlobals = unknownGlobals
    self.notes = notes
    name = String(decoding: file.path.fileName, as: UTF8.self)
  }

  /// Makes a shard of tensors that are assembled from slices in other shards. There is at least one of those.
  init(_ assembly: Assembly, described header: Header) {
    file = assembly.shards[0].file
    format = assembly.shards[0].format
    self.header = header
    contents = .assembled(assembly)
    name = assembly.shards[0].name
  }

  // MARK: - Contents

  /// Reads bytes `range` of a tensor's contents, whatever its strides: pread(2). `tensor` must be one of this
  /// shard's, and the range within its ``Tensor/byteCount``.
  ///
  /// Throws ESTALE if the file was truncated, and EOPNOTSUPP for a computed tensor. To know that the bytes
  /// are those of the file that was opened, call ``SourceFile/isUnchanged()`` afterwards.
  package func read(_ tensor: Tensor, _ range: Range<UInt64>) throws(Errno) -> [UInt8] {
    guard let view = TensorView(tensor, of: self) else { throw .notSupported }
    return try view.read(range)
  }
}

extension Shard {
  /// The shard without omissions of tensors that were not chosen.
  func choosing(_ isChosen: (TensorName) -> Bool) -> Shard {
    var shard = self
    shard.omitted.removeAll { !isChosen($0.name) }
    return shard
  }
}

extension [Shard] {
  /// Uses paths as the names of shards that share a file name.
  mutating func makeNamesUnique() {
    let uses = Dictionary(grouping: self, by: \.name)
    for position in indices where uses[self[position].name, default: []].count > 1 {
      self[position].name = String(decoding: self[position].file.path.bytes, as: UTF8.self)
    }
  }
}
