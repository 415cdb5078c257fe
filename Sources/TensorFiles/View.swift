internal import Models
package import Safetensors

/// A way of showing tensors as files: the directory that leads to it, how its files' names end, and what is in
/// them. To add one is to add it here.
package struct View: Sendable {
  /// Part of the inode numbers, so it stays what it is: the position in ``all``.
  package let number: UInt8
  /// The directory in a model's root, reachable by name and not listed. Empty: the root itself.
  package let directory: [UInt8]
  /// What the names of files end in. Directories never do.
  package let suffix: [UInt8]
  /// The contents of a tensor's file; nil where the tensor has none in this view.
  package let encode: @Sendable (Tensor, HeaderWriter) -> Encoding?

  private init(
    _ number: UInt8, directory: String, suffix: String,
    encode: @escaping @Sendable (Tensor, HeaderWriter) -> Encoding?
  ) {
    self.number = number
    self.directory = Array(directory.utf8)
    self.suffix = Array(suffix.utf8)
    self.encode = encode
  }

  /// The tree itself: the tensors' bytes as they are.
  package static let raw = View(0, directory: "", suffix: "") { tensor, _ in Encoding(of: tensor) }

  /// Files of NumPy. Types that it lacks are float32 there.
  package static let npy = View(1, directory: ".npy", suffix: ".npy") { tensor, _ in
    let widening = tensor.dtype.numPyName == nil ? tensor.dtype.widening : nil
    guard let name = widening == nil ? tensor.dtype.numPyName : DType.f32.numPyName else { return nil }
    return Encoding(of: tensor, header: [NPYHeader.bytes(name, tensor.shape)], widening: widening)
  }

  /// Headerless float32 of every type that fits into it without loss.
  package static let f32 = View(2, directory: ".f32", suffix: "") { tensor, _ in
    guard tensor.dtype == .f32 || tensor.dtype.widening != nil else { return nil }
    return Encoding(of: tensor, widening: tensor.dtype.widening)
  }

  /// Each tensor as a model of its own.
  package static let safetensors = View(3, directory: ".safetensors", suffix: ".safetensors") {
    tensor, writer in
    let alone = Tensor(
      name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, writtenTo: 0..<tensor.byteCount)
    return Encoding(of: tensor, header: writer.pieces(CollectionOfOne(alone)))
  }

  /// All of them, in the order of their numbers.
  package static let all = [raw, npy, f32, safetensors]

  /// Those that have a directory.
  package static let inDirectories = all.filter { !$0.directory.isEmpty }
}
