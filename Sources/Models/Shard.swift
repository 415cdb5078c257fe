internal import Linux
internal import PyTorch
package import Safetensors
package import SystemPackage

/// A checked header and the place of its tensors' bytes: one file, a file per tensor, slices of other shards, or computed values.
package struct Shard: Sendable {
  /// What a file is, under its name in metadata.json.
  package enum Format: String, Sendable {
    /// A safetensors file.
    case safetensors
    /// A file of torch.save: an archive, or the older form.
    case pyTorch = "pytorch"
    /// A file of a distributed checkpoint of PyTorch, of which each slice is a file of torch.save.
    case distributed = "dcp"
    /// A mount or a copy of one: a file for each tensor.
    case directory
  }

  /// Where the bytes of the tensors come from. Lists of tensors are in the order of ``header``.
  package enum Contents: Sendable {
    /// ``file`` holds them.
    case file
    /// Each tensor is a file of its own; ``file`` describes them.
    case files([SourceFile])
    /// The tensors are put together from slices in other shards; ``file`` is the first one's.
    case assembled(Assembly)
    /// The tensors are computed from others; ``file`` is that of one of the model's shards.
    case computed(ComputedTensors)
  }

  /// The file.
  package let file: SourceFile
  /// What it is.
  package let format: Format
  /// Its header; of a file of PyTorch, what its pickle says in the same words.
  package internal(set) var header: Header
  /// The tensors that it names and that are not in ``header``.
  package internal(set) var omitted: [OmittedTensor] = []
  /// The full names of the classes and functions that a file of PyTorch names and that are not known, in the
  /// file's order. Nothing was made of them. Not necessarily UTF-8, nor safe to print.
  package private(set) var unknownGlobals: [[UInt8]] = []
  /// What a person should know of its names; safe to print.
  private(set) var notes: [String] = []
  /// Where the bytes of the tensors come from.
  package let contents: Contents
  /// What it is called in metadata.json: its file name, or its path where two sources share that.
  package internal(set) var name: String

  /// The files that the tensors come from.
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
  /// The header is read into memory of its own, not through the mapping: a file that is truncated while it is
  /// read must be an error and not SIGBUS. The pickle of a file of PyTorch is read as a description, and
  /// nothing in it is run.
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

  /// How much is read at first, in bytes: most headers are shorter, and a request takes long on a network.
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
        // Whose archive it is says more than what PyTorch's reader stumbled over.
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
        // Only once it is no safetensors file: a header's length may look like anything.
        guard let foreign = ForeignFormat(prefix: start) else { throw error }
        throw ModelError(header: error, path, problem: foreign.description(of: start, in: path.fileName))
      }
    }
  }

  /// Tensors that are computed: no file, but in a model's list of them. `file` is one of those that they come from.
  init(_ computed: ComputedTensors, described header: Header, beside shard: Shard) {
    file = shard.file
    format = shard.format
    self.header = header
    contents = .computed(computed)
    name = shard.name
  }

  /// Tensors that are whole files, one for each of the header's, which `document` describes.
  init(_ files: [SourceFile], described header: Header, by document: SourceFile) {
    file = document
    format = .directory
    self.header = header
    contents = .files(files)
    name = String(decoding: document.path.fileName, as: UTF8.self)
  }

  /// A file of a distributed checkpoint, as its checkpoint describes it. `notes` are safe to print.
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

  /// Tensors that are put together from slices in other shards, of which there is at least one.
  init(_ assembly: Assembly, described header: Header) {
    file = assembly.shards[0].file
    format = assembly.shards[0].format
    self.header = header
    contents = .assembled(assembly)
    name = assembly.shards[0].name
  }

  // MARK: - Contents

  /// Bytes `range` of a tensor as it is shown, whatever its strides, in memory of their own: pread(2).
  /// `tensor` is one of this shard's, and the range is inside its ``Tensor/byteCount``.
  ///
  /// Throws ESTALE where the file has become too short, and EOPNOTSUPP of a computed tensor. Whoever must know that the bytes are
  /// those of the file that was opened asks ``SourceFile/isUnchanged()`` afterwards.
  package func read(_ tensor: Tensor, _ range: Range<UInt64>) throws(Errno) -> [UInt8] {
    guard let view = TensorView(tensor, of: self) else { throw .notSupported }
    return try view.read(range)
  }
}

extension Shard {
  /// The same shard for some tensors only: problems of other tensors do not matter.
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
