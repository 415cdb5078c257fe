internal import Models
package import Safetensors

/// A way to show tensors as files: the name of its directory, the suffix of its files, and their contents. To add
/// a view, add it here, then to what names the views to users: `ViewForm`, `MountedLine`, `Stmount`.
package struct View: Sendable {
  /// The position in ``all``. It is part of the inode numbers, so it must not change.
  package let number: UInt8
  /// The directory in a model's root, reachable by name and not listed. Empty: the root itself.
  package let directory: [UInt8]
  /// The suffix of the names of files; names of directories never end in it.
  package let suffix: [UInt8]
  /// The contents of a tensor's file, made from the tensor's bytes; nil if the tensor has none in this view.
  private let contents: @Sendable (Tensor, FileLayout, HeaderWriter) -> FileLayout?

  private init(
    _ number: UInt8, directory: String, suffix: String,
    contents: @escaping @Sendable (Tensor, FileLayout, HeaderWriter) -> FileLayout?
  ) {
    self.number = number
    self.directory = Array(directory.utf8)
    self.suffix = Array(suffix.utf8)
    self.contents = contents
  }

  /// The contents of a tensor's file; nil if it has none in this view.
  ///
  /// - Parameters:
  ///   - raw: the tensor's bytes.
  ///   - writer: of headers with the `__metadata__` of the tensor's source.
  package func layout(of tensor: Tensor, raw: FileLayout, writer: HeaderWriter) -> FileLayout? {
    contents(tensor, raw, writer)
  }

  /// The tree itself: the tensors' bytes as they are.
  package static let raw = View(0, directory: "", suffix: "") { _, raw, _ in raw }

  /// Files of NumPy. Types that it lacks are float32 there. It has no arrays of more than 64 dimensions: NPY_MAXDIMS.
  package static let npy = View(1, directory: ".npy", suffix: ".npy") { tensor, raw, _ in
    guard tensor.shape.count <= 64 else { return nil }
    if let name = tensor.dtype.numPyName {
      return FileLayout([.memory(NPYHeader.bytes(name, tensor.shape)[...])] + raw.segments)
    }
    guard let widening = tensor.dtype.widening, let elements = WidenedElements(raw, widening),
      let name = DType.f32.numPyName
    else { return nil }
    return FileLayout([.memory(NPYHeader.bytes(name, tensor.shape)[...]), .computed(elements)])
  }

  /// Headerless float32 of every type that fits into it without loss.
  package static let f32 = View(2, directory: ".f32", suffix: "") { tensor, raw, _ in
    if tensor.dtype == .f32 { return raw }
    guard let widening = tensor.dtype.widening else { return nil }
    return WidenedElements(raw, widening).flatMap { FileLayout([.computed($0)]) }
  }

  /// Each tensor as a model of its own.
  package static let safetensors = View(3, directory: ".safetensors", suffix: ".safetensors") {
    tensor, raw, writer in
    let alone = Tensor(
      name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, writtenTo: 0..<raw.byteCount)
    return FileLayout(writer.segments(alone: alone) + raw.segments)
  }

  /// All of them, in the order of their numbers.
  package static let all = [raw, npy, f32, safetensors]

  /// The views with a directory.
  package static let inDirectories = all.filter { !$0.directory.isEmpty }
}
