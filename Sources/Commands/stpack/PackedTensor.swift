import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A tensor on its way from an input into a file.
struct PackedTensor {
  /// The tensor as it is to be written; its place in the data is decided last.
  private(set) var tensor: Tensor
  /// What it is called in the input.
  let originalName: TensorName
  /// The file that it is in, for messages.
  let path: FilePath
  /// False where its bytes are a part of that file.
  private(set) var isComputed: Bool
  /// What it holds, as it is to be written. A file that is not held open is opened by this.
  private(set) var contents: () throws(ModelError) -> FileLayout

  /// Counts values that the type it becomes does not have; nil where that is no error.
  private(set) var overflows: OverflowCount?

  /// A tensor of a file that is held open, as a model's files are.
  init(_ tensor: Tensor, _ contents: FileLayout, path: FilePath) {
    self.init(tensor, path: path, isComputed: contents.isComputed) { () throws(ModelError) in contents }
  }

  /// A tensor of a file that is opened again when its turn comes, since a directory may have more files than a process
  /// may have open. It must then still be the file that was looked at.
  init(
    _ tensor: Tensor, of file: SourceFile, again open: @escaping () throws(ModelError) -> SourceFile,
    _ contents: @escaping (SourceFile) -> FileLayout?
  ) {
    let status = file.status
    let isComputed = contents(file)?.isComputed ?? false
    self.init(tensor, path: file.path, isComputed: isComputed) { () throws(ModelError) in
      let again = try open()
      guard again.isOpenedAs(status), let contents = contents(again) else { throw again.changed }
      return contents
    }
  }

  private init(
    _ tensor: Tensor, path: FilePath, isComputed: Bool,
    _ contents: @escaping () throws(ModelError) -> FileLayout
  ) {
    // Wherever its bytes lie in the source, here they will follow each other.
    self.tensor = Tensor(
      name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, writtenTo: 0..<tensor.byteCount)
    originalName = tensor.name
    self.path = path
    self.isComputed = isComputed
    self.contents = contents
  }

  /// The same tensor as if it had another name in its input.
  func called(_ name: TensorName) -> PackedTensor {
    PackedTensor(
      Tensor(name: name, dtype: tensor.dtype, shape: tensor.shape, writtenTo: tensor.dataRange), path: path,
      isComputed: isComputed, contents)
  }

  /// The same tensor with elements of another type; nil where they cannot become that.
  func converted(to dtype: DType, saturating: Bool) -> PackedTensor? {
    guard let byteCount = dtype.byteCount(of: tensor.shape) else { return nil }
    let count = OverflowCount()
    let (former, original, path) = (tensor, contents, path)
    var converted = self
    converted.tensor = Tensor(
      name: former.name, dtype: dtype, shape: former.shape, writtenTo: 0..<byteCount)
    converted.isComputed = true
    converted.overflows = saturating ? nil : count
    converted.contents = { () throws(ModelError) in
      guard
        let layout = try original().converted(
          from: former.dtype, to: dtype, saturating: saturating, counting: count)
      else { throw ModelError(.malformed, path, "tensor \(former.name) cannot become \(dtype.name)") }
      return layout
    }
    return converted
  }

  /// Gives it a name.
  mutating func set(name: TensorName) {
    tensor = Tensor(name: name, dtype: tensor.dtype, shape: tensor.shape, writtenTo: tensor.dataRange)
  }
}

extension FileLayout {
  /// True if some bytes are no part of a file.
  fileprivate var isComputed: Bool {
    segments.contains { if case .computed = $0 { true } else { false } }
  }
}

extension SourceFile {
  /// What to say where it is no longer what was opened.
  var changed: ModelError {
    ModelError(.malformed, path, "it changed while it was packed; nothing was written")
  }
}
