import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A tensor on its way from an input into a file.
struct PackedTensor {
  /// The tensor as it is to be written; its place in the data is decided last.
  var tensor: Tensor
  /// What it is called in the input.
  let originalName: TensorName
  /// Where its bytes are.
  let source: TensorSource

  init(_ tensor: Tensor, _ source: TensorSource) {
    // Wherever its bytes lie in the source, here they will follow each other.
    self.tensor = Tensor(
      name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, writtenTo: 0..<tensor.byteCount)
    originalName = tensor.name
    self.source = source
  }

  /// Gives it a name or a place.
  mutating func set(name: TensorName? = nil, dataRange: Range<UInt64>? = nil) {
    tensor = Tensor(
      name: name ?? tensor.name, dtype: tensor.dtype, shape: tensor.shape,
      writtenTo: dataRange ?? tensor.dataRange)
  }
}

/// Where a tensor's bytes are: a part of a file, or all over it.
struct TensorSource {
  /// The file's path, for messages.
  let path: FilePath
  /// The bytes in it; those that the tensor reaches, where they are gathered.
  let range: Range<UInt64>
  /// The file: the same object each time where it is held open.
  let open: () throws(ModelError) -> SourceFile
  /// Gives bytes of the tensor as it is to be written, where they do not follow each other in the file; else nil.
  private(set) var gather: ((Range<UInt64>) throws(Errno) -> [UInt8])?

  /// A part of a file that is held open, as a model's files are.
  init(_ range: Range<UInt64>, of file: SourceFile) {
    path = file.path
    self.range = range
    open = { () throws(ModelError) in file }
  }

  /// A tensor of a shard, in whatever order its elements lie.
  init(_ tensor: Tensor, of shard: Shard) {
    self.init(shard.fileRange(of: tensor), of: shard.file)
    if !tensor.isContiguous {
      gather = { range throws(Errno) in try shard.read(tensor, range) }
    } else if shard.computed != nil, let layout = FileLayout(of: tensor, in: shard) {
      gather = { range throws(Errno) in
        let bytes = try [UInt8](filling: range.count) { target throws(Errno) in
          try layout.fill(&target, from: range.lowerBound)
        }
        // Whoever writes checks one file, and this comes from several.
        guard shard.files.allSatisfy({ $0.isUnchanged() }) else { throw .staleNFSFileHandle }
        return bytes
      }
    }
  }

  /// A part of a file that is opened again when its turn comes, since a directory may have more files than a process
  /// may have open. It must then still be the file that was looked at.
  init(
    _ range: Range<UInt64>, of file: SourceFile, again open: @escaping () throws(ModelError) -> SourceFile
  ) {
    path = file.path
    self.range = range
    let status = file.status
    self.open = { () throws(ModelError) in
      let again = try open()
      guard again.isOpenedAs(status) else { throw again.changed }
      return again
    }
  }
}

extension SourceFile {
  /// What to say where it is no longer what was opened.
  var changed: ModelError {
    ModelError(.malformed, path, "it has changed while it was packed; nothing is written")
  }
}
