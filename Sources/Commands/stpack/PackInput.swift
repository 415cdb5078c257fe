import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The contents of one input: tensors, and entries of `__metadata__`.
struct PackInput {
  /// Which tensors are read from inputs, and which problems are tolerated.
  struct Options {
    /// Which tensors are chosen.
    let selection: NameSelection
    /// How models are opened.
    var opening = OpeningOptions()
    /// Files that a directory's metadata.json lists may be missing.
    var allowsMissing = false
    /// Quantised models are dequantised.
    var dequantizes = false
  }

  private(set) var tensors: [PackedTensor] = []
  /// The metadata of each file that has some, with the file for messages.
  private(set) var metadata: [(source: FilePath, entries: MergedMetadata.Entries)] = []
  /// Warnings; safe to print.
  private(set) var warnings: [String] = []
  /// True for a single NumPy file.
  private(set) var isArray = false
  private let options: Options

  /// Opens a NumPy file, a directory of them, a mounted model or a copy of one, or any source that stmount(1) accepts.
  init(opening path: FilePath, _ options: Options) throws(ModelError) {
    self.options = options
    options.selection.beginInput()
    let type = try ModelError.translating("open", path) { try Stat(path).type }
    guard type == .directory else {
      if NPYDirectory.isNPY(path.fileName) {
        isArray = true
        try addArray(path, named: path.fileName) { () throws(ModelError) in try SourceFile(opening: path) }
      } else {
        try addModel(path)
      }
      return
    }
    let names = try path.entries()
    if let directory = try TensorDirectory.found(at: path) {
      try add(directory, path)
    } else {
      do throws(ModelError) {
        try addModel(path)
      } catch {
        guard error.kind == .noSource else { throw error }
        try refuseSeveralModels(in: path, names)
        guard try addArrays(path) else { throw error }
      }
    }
  }

  // MARK: - Models

  private mutating func addModel(_ path: FilePath) throws(ModelError) {
    // A quantised tensor needs others, which have names of their own.
    let collection = try ModelCollection(
      opening: [path], options.opening,
      choosing: options.dequantizes ? { _ in true } : options.selection.contains)
    guard collection.components.count == 1, var model = collection.components.first?.model else {
      throw Self.ambiguous(
        path,
        collection.components.map { component in
          // A rank is a file in the directory, and a pipeline's component a directory in it.
          let file = component.model.shards.first?.file.path
          let isFile = file?.removingLastComponent() == path
          return isFile ? file?.fileName ?? [] : component.name ?? []
        })
    }
    try Self.refuseOmitted(model.omitted, path)
    warnings += collection.warnings
    if options.dequantizes {
      let (dequantized, reasons) = collection.dequantized()
      warnings += reasons
      guard let other = dequantized?.components.first?.model else {
        throw ModelError(
          .malformed, path, "no tensor is quantised in a supported format; leave out --dequant")
      }
      model = other
    }
    for place in model.places
    where !options.dequantizes || options.selection.contains(model.name(at: place)) {
      let shard = model.shard(at: place)
      let tensor = model.tensor(at: place)
      guard let contents = FileLayout(of: tensor, in: shard) else {
        throw ModelError(.malformed, shard.file.path, "tensor \(tensor.name) is larger than a file can be")
      }
      tensors.append(PackedTensor(tensor, contents, path: shard.file.path))
    }
    for shard in model.storedShards { addMetadata(shard.header.metadata, of: shard.file.path) }
  }

  /// Throws if a model has tensors that are not shown: its safetensors file would lack them.
  private static func refuseOmitted(_ omitted: [OmittedTensor], _ path: FilePath) throws(ModelError) {
    guard let first = omitted.first else { return }
    let others = omitted.count - 1
    throw ModelError(
      .malformed, path,
      "tensor \(first.name) \(first.reason)"
        + (others > 0 ? ", and \(PrintableText.counted(others, "more tensor")) cannot be packed either" : "")
        + "; leave such tensors out with --exclude, or pack another form of the model")
  }

  private static func ambiguous(_ path: FilePath, _ names: [[UInt8]]) -> ModelError {
    let choices = names.map { PrintableText.quoted($0) }.joined(separator: ", ")
    return ModelError(.malformed, path, "it holds more than one model; name one of \(choices)")
  }

  private mutating func addMetadata(_ entries: MergedMetadata.Entries, of source: FilePath) {
    if !entries.isEmpty { metadata.append((source, entries)) }
  }

  // MARK: - Mounts, and copies of them

  private mutating func add(_ directory: TensorDirectory, _ path: FilePath) throws(ModelError) {
    if options.dequantizes {
      throw TensorDirectory.dequantizedMount(path)
        ?? ModelError(
          .malformed, path, "--dequant does not work on a copy of a mount; pack the model itself")
    }
    var missing = 0
    for entry in directory.entries where options.selection.contains(entry.tensor.name) {
      let file: SourceFile
      do throws(ModelError) {
        file = try directory.open(entry)
      } catch {
        guard error.kind == .noSource else { throw error }
        guard options.allowsMissing else {
          throw ModelError(
            .noSource, error.path,
            "\(error.problem); if only some tensors were copied, --include them, or give --missing-ok")
        }
        missing += 1
        continue
      }
      let open = { () throws(ModelError) in try directory.open(entry) }
      tensors.append(
        PackedTensor(entry.tensor, of: file, again: open) {
          FileLayout([.file(FileRange(0..<$0.size, of: $0))])
        })
    }
    if missing > 0 {
      warnings.append(
        "\(path.printable): \(PrintableText.counted(missing, "tensor")) without a file left out")
    }
    for entries in directory.metadata { addMetadata(entries, of: path) }
  }

  /// A mount of several models has only the metadata.json files of its models.
  private func refuseSeveralModels(in path: FilePath, _ names: [[UInt8]]) throws(ModelError) {
    let models = names.filter { name in
      do throws(ModelError) {
        return try TensorDirectory.found(at: path.pushing(FilePath(bytes: name))) != nil
      } catch {
        return true
      }
    }
    if !models.isEmpty { throw Self.ambiguous(path, models) }
  }

  // MARK: - NumPy

  /// Adds a directory of NumPy files; false if it has none.
  private mutating func addArrays(_ path: FilePath) throws(ModelError) -> Bool {
    let directory = try NPYDirectory(opening: path)
    for file in directory.paths {
      try addArray(path.pushing(FilePath(bytes: file)), named: file) { () throws(ModelError) in
        try directory.open(file)
      }
    }
    if directory.otherCount > 0, !directory.paths.isEmpty {
      warnings.append(
        "\(path.printable): files whose names do not end in .npy are left out: \(directory.otherCount)")
    }
    return !directory.paths.isEmpty
  }

  private mutating func addArray(
    _ path: FilePath, named name: [UInt8], _ open: @escaping () throws(ModelError) -> SourceFile
  ) throws(ModelError) {
    let tensorName: TensorName
    do throws(PathDecoder.Problem) {
      tensorName = try NPYDirectory.name(of: name)
    } catch {
      throw ModelError(.malformed, path, error.problem)
    }
    guard options.selection.contains(tensorName) else { return }
    let file = try open()
    let array = try NPYArray(of: file)
    let tensor = array.tensor(tensorName)
    tensors.append(PackedTensor(tensor, of: file, again: open) { FileLayout(of: array, in: $0) })
  }
}
