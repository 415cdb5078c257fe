import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A tensor of an input that is to be written.
struct PackedTensor {
  /// The tensor as it is to be written; its place in the data is decided last.
  private(set) var tensor: Tensor
  /// Its name in the input.
  let originalName: TensorName
  /// The file that it is in, for messages.
  let path: FilePath
  /// False if its bytes are a part of that file.
  private(set) var isComputed: Bool
  /// Its contents, as they are to be written. Opens the file if it is not held open.
  private(set) var contents: () throws(ModelError) -> FileLayout

  /// Counts values beyond the range of the new type; nil if they are not an error.
  private(set) var overflows: OverflowCount?

  /// A tensor of a file that is held open, as a model's files are.
  init(_ tensor: Tensor, _ contents: FileLayout, path: FilePath) {
    self.init(tensor, path: path, isComputed: contents.isComputed) { () throws(ModelError) in contents }
  }

  /// A tensor of a file that is opened again when it is written, since a directory can have more files than a process
  /// can have open. It must then still be the file that was inspected.
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
    // Its bytes will be contiguous here, wherever they are in the source.
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

  /// The same tensor with elements of another type; nil if they cannot be converted.
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
  /// True if some bytes are not a part of a file.
  fileprivate var isComputed: Bool {
    segments.contains { if case .computed = $0 { true } else { false } }
  }
}
