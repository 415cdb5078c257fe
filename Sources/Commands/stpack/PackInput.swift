import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles
import TensorFS

/// What one argument of the command gives: tensors, and entries of `__metadata__`.
struct PackInput {
  typealias Metadata = [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)]

  private(set) var tensors: [PackedTensor] = []
  /// The metadata of each of its files that has any, with the file to name in messages.
  private(set) var metadata: [(source: FilePath, entries: Metadata)] = []
  /// What a person should know though all is well; safe to print.
  private(set) var warnings: [String] = []
  /// Models become the numbers that they stand for.
  private let dequantizing: Bool

  /// Opens a NumPy file, a directory of them, a mounted model or a copy of one, or whatever stmount(1) mounts.
  init(opening path: FilePath, lenient: Bool, dequantizing: Bool = false) throws(ModelError) {
    self.dequantizing = dequantizing
    let type = try ModelError.translating("open", path) { try Stat(path).type }
    guard type == .directory else {
      if NPYDirectory.isNPY(path.fileName) {
        try addArray(path, named: path.fileName) { () throws(ModelError) in try SourceFile(opening: path) }
      } else {
        try addModel(path, lenient: lenient)
      }
      return
    }
    let names = try path.entries()
    if names.contains(Array(TensorDirectory.documentName.utf8)) {
      if let directory = try Self.tensorDirectory(path) {
        try add(directory, path)
      } else {
        try addModel(path, lenient: lenient)
      }
    } else {
      do throws(ModelError) {
        try addModel(path, lenient: lenient)
      } catch {
        guard error.kind == .noSource else { throw error }
        try refuseSeveralModels(in: path, names)
        guard try addArrays(path) else { throw error }
      }
    }
  }

  // MARK: - Models

  private mutating func addModel(_ path: FilePath, lenient: Bool) throws(ModelError) {
    let collection = try ModelCollection(opening: [path], OpeningOptions(lenient: lenient))
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
    if let omitted = model.omitted.first {
      let others = model.omitted.count - 1
      throw ModelError(
        .malformed, path,
        "tensor \(omitted.name) \(omitted.reason)"
          + (others > 0 ? "; so it is with \(PrintableText.counted(others, "more tensor"))" : "")
          + "; a copy without it would be no copy of the model")
    }
    warnings += collection.warnings
    if dequantizing {
      let (dequantized, reasons) = collection.dequantized()
      warnings += reasons
      guard let other = dequantized?.components.first?.model else {
        throw ModelError(
          .malformed, path, "no tensor is quantised in a way that is known; leave out --dequant")
      }
      model = other
    }
    for place in model.places {
      let shard = model.shard(at: place)
      let tensor = model.tensor(at: place)
      tensors.append(PackedTensor(tensor, TensorSource(tensor, of: shard)))
    }
    for shard in model.storedShards { addMetadata(shard.header.metadata, of: shard.file.path) }
  }

  private static func ambiguous(_ path: FilePath, _ names: [[UInt8]]) -> ModelError {
    let choices = names.map { PrintableText.quoted($0) }.joined(separator: ", ")
    return ModelError(.malformed, path, "it holds more than one model; name one of \(choices)")
  }

  private mutating func addMetadata(_ entries: Metadata, of source: FilePath) {
    if !entries.isEmpty { metadata.append((source, entries)) }
  }

  // MARK: - Mounts, and copies of them

  /// A directory with a mount's metadata.json; nil where that is somebody else's, beside a model of the usual kind.
  private static func tensorDirectory(_ path: FilePath) throws(ModelError) -> TensorDirectory? {
    do throws(ModelError) {
      return try TensorDirectory(opening: path)
    } catch {
      let notOurs = error
      do throws(ModelError) {
        _ = try ModelCollection(opening: [path], OpeningOptions(lenient: true))
      } catch {
        // A model that is there and broken has more to say than a document that is not looked for.
        if error.kind == .noSource { throw notOurs }
      }
      return nil
    }
  }

  private mutating func add(_ directory: TensorDirectory, _ path: FilePath) throws(ModelError) {
    for entry in directory.entries {
      let file = try directory.open(entry)
      let source = TensorSource(0..<file.size, of: file) { () throws(ModelError) in try directory.open(entry)
      }
      tensors.append(PackedTensor(entry.tensor, source))
    }
    for entries in directory.metadata { addMetadata(entries, of: path) }
  }

  /// A mount of several models has no metadata.json but those of its models.
  private func refuseSeveralModels(in path: FilePath, _ names: [[UInt8]]) throws(ModelError) {
    let models = names.filter { name in
      let document = path.pushing(FilePath(bytes: name)).appending(TensorDirectory.documentName)
      return (try? Stat(document).type) == .regular
    }
    if !models.isEmpty { throw Self.ambiguous(path, models) }
  }

  // MARK: - NumPy

  /// Adds a directory of NumPy files; false where there is none in it.
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
    let file = try open()
    let array = try NPYArray(of: file)
    let tensorName: TensorName
    do throws(PathDecoder.Problem) {
      tensorName = try NPYDirectory.name(of: name)
    } catch {
      throw ModelError(.malformed, path, error.problem)
    }
    let count = array.dataRange.upperBound - array.dataRange.lowerBound
    let tensor = Tensor(
      name: tensorName, dtype: array.dtype, shape: array.shape[...], writtenTo: 0..<count)
    tensors.append(PackedTensor(tensor, TensorSource(array.dataRange, of: file, again: open)))
  }
}
